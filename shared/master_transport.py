"""Celery's way to a broker whose master the sentinels name."""

from kombu.transport.redis import SentinelChannel, SentinelTransport

from shared.master_connection import MasterConnection, SecureMasterConnection


class MasterChannel(SentinelChannel):
    """What messages are sent and received by."""

    connection_class = MasterConnection
    connection_class_ssl = SecureMasterConnection


class MasterTransport(SentinelTransport):
    """What kombu calls the whole of it."""

    Channel = MasterChannel
