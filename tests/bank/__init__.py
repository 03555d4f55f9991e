"""A fake bank that loses its answers, and payments that must not be booked twice; see __main__.py."""
