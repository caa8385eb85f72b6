"""`relaisctl simulate`: the routing engine in this process, on customers of real files."""
