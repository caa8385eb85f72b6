"""Crews, their hours and areas, free slots, and booking without double booking."""
