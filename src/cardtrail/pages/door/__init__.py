"""The door of the pages: accounts, log-in, sessions, roles, and what protects them.

`Door` stands in front of the pages; `visitor` is what a page asks. It needs two tables of whatever store it works on:
`tables` has their schema and queries.
"""
