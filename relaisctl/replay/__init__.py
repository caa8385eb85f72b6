"""Recorded and generated calls, played into Relais: as history, or live against our own routing."""
