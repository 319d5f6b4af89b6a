"""The ingestor's metrics."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram


@dataclass(frozen=True)
class PublisherMetrics:
    published: Counter
    confirmed: Counter
    returned: Counter
    nacked: Counter


PUBLISHER = PublisherMetrics(
    published=Counter("wsgw_events_published", "Messages sent to the broker, repeats included"),
    confirmed=Counter("wsgw_events_confirmed", "Messages the broker confirmed"),
    returned=Counter("wsgw_events_returned", "Messages that reached no queue"),
    nacked=Counter("wsgw_events_nacked", "Messages the broker refused"),
)

FRAMES = Counter("wsgw_frames_received", "Data frames read from the exchange", ["endpoint"])
SET_ASIDE = Counter("wsgw_frames_set_aside", "Frames that could not be parsed", ["endpoint"])
CONNECTS = Counter("wsgw_connects", "Attempts to connect to the exchange", ["endpoint"])
SOCKET_LIVE = Gauge("wsgw_socket_live", "1 while the socket is live", ["endpoint", "socket_no"])
RTT_SECONDS = Histogram("wsgw_exchange_rtt_seconds", "From our ping to Bybit's pong", ["endpoint"])
TOPICS = Gauge("wsgw_topics", "Topics by state", ["endpoint", "state"])
LANE = Gauge("wsgw_outbox_events", "Events since the start: accepted = confirmed + dropped + spooled + in_flight",
             ["lane", "what"])  # fmt: skip
KEY_EXPIRES_IN = Gauge("wsgw_api_key_expires_in_seconds", "Until the API key expires; infinite without an expiry")
GAPS = Counter("wsgw_gaps", "Windows in which a topic may have missed events", ["endpoint", "cause"])
BROKER_CONNECTED = Gauge("wsgw_broker_connected", "1 while the publisher is connected")
RECONCILED = Gauge("wsgw_reconciled_generation", "The newest change of subscriptions that is applied")
