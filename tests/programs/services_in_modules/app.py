"""The services are in modules of a package, which the file imports for the side of it."""

import shop.orders
import shop.payments

__all__ = ["shop"]
