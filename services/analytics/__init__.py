"""Analytics: every event in typed ClickHouse tables, one row per call, and live figures.

Derived only: drop the database, reset the consumers, and the topics build it again.
"""
