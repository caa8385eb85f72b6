"""orders: each client's own form, visits, amounts, and what becomes of them."""
