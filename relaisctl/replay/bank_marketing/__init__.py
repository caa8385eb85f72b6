"""The file "bank-marketing" as outbound campaigns."""
