"""gRPC: what the capabilities offer partners, by the names of the contracts."""

from collections.abc import Mapping

from eventkit.rpc import Method
from services.orders.order import rpc as order
from services.orders.service import Ordering


def services(ordering: Ordering) -> dict[str, Mapping[str, Method]]:
    """Methods by service, for eventkit.rpc.start_server."""
    return {order.SERVICE: order.methods(ordering.orders)}
