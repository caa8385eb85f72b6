"""gRPC: the capabilities' methods as the two services of the contracts."""

from collections.abc import Mapping

from relais.complaints.v1 import complaint_service_pb2
from relais.customers.v1 import customer_service_pb2

from eventkit.rpc import Method
from services.crm.complaints import rpc as complaints
from services.crm.consent import rpc as consent
from services.crm.customers import rpc as customers
from services.crm.service import Crm

CUSTOMERS = customer_service_pb2.DESCRIPTOR.services_by_name["CustomerService"].full_name
COMPLAINTS = complaint_service_pb2.DESCRIPTOR.services_by_name["ComplaintService"].full_name


def services(crm: Crm) -> dict[str, Mapping[str, Method]]:
    """Methods by service, for eventkit.rpc.start_server."""
    return {
        CUSTOMERS: {
            **customers.methods(crm.customers),
            **consent.methods(crm.consent.contacts),
        },
        COMPLAINTS: complaints.methods(crm.complaints),
    }
