"""What an order costs and why: price rules, promotions, quotes."""
