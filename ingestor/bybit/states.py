"""The states of a connection and of a topic on it, each with the table of its transitions."""

from enum import IntEnum, StrEnum


class State(StrEnum):
    """Of a connection."""

    IDLE = "idle"  # there is no subscription
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    LIVE = "live"
    BACKOFF = "backoff"  # waits before it connects again
    PARKED = "parked"  # a person must act: a refused key is retried rarely, missing credentials are not


class ConnectionEvent(StrEnum):
    """The texts of those that lead to CONNECTING are also the reason that operators see."""

    WANTED = "a topic is wanted"
    OPENED = "the connection is open"
    CHALLENGED = "the connection is open and must be authenticated"
    AUTHENTICATED = "the exchange accepted the credentials"
    REFUSED = "the exchange refused the credentials"
    UNAUTHENTICATED = "private topics need credentials, and there are none"
    LOST = "the connection is lost"
    DUE = "the wait is over"
    RENEWED = "there are new credentials"
    UNWANTED = "no topic is wanted any more"


TRANSITIONS = {
    (State.IDLE, ConnectionEvent.WANTED): State.CONNECTING,
    (State.IDLE, ConnectionEvent.UNAUTHENTICATED): State.PARKED,
    (State.CONNECTING, ConnectionEvent.OPENED): State.LIVE,
    (State.CONNECTING, ConnectionEvent.CHALLENGED): State.AUTHENTICATING,
    (State.CONNECTING, ConnectionEvent.UNAUTHENTICATED): State.PARKED,
    (State.CONNECTING, ConnectionEvent.LOST): State.BACKOFF,
    (State.AUTHENTICATING, ConnectionEvent.AUTHENTICATED): State.LIVE,
    (State.AUTHENTICATING, ConnectionEvent.REFUSED): State.PARKED,
    (State.AUTHENTICATING, ConnectionEvent.LOST): State.BACKOFF,
    (State.LIVE, ConnectionEvent.LOST): State.BACKOFF,
    (State.LIVE, ConnectionEvent.UNWANTED): State.IDLE,
    (State.BACKOFF, ConnectionEvent.DUE): State.CONNECTING,
    (State.BACKOFF, ConnectionEvent.UNAUTHENTICATED): State.PARKED,
    (State.BACKOFF, ConnectionEvent.UNWANTED): State.IDLE,
    (State.PARKED, ConnectionEvent.DUE): State.CONNECTING,
    (State.PARKED, ConnectionEvent.UNAUTHENTICATED): State.PARKED,
    (State.PARKED, ConnectionEvent.RENEWED): State.CONNECTING,
    (State.PARKED, ConnectionEvent.UNWANTED): State.IDLE,
}
"""(state, event) to the next state. A pair that is not here cannot occur."""


class TopicState(StrEnum):
    """Of a topic on one connection: what was requested of the exchange, and what it answered."""

    PENDING = "pending"  # to be subscribed
    SUBSCRIBING = "subscribing"  # subscribe was sent
    OUTDATED = "outdated"  # subscribe was sent, and what it brought is incomplete already
    SUBSCRIBED = "subscribed"  # acknowledged
    RENEWING = "renewing"  # perhaps subscribed: to be unsubscribed and, while wanted, subscribed again
    UNSUBSCRIBING = "unsubscribing"  # unsubscribe was sent
    REJECTED = "rejected"  # refused by the exchange; retried rarely


class TopicEvent(StrEnum):
    SUBSCRIBE = "subscribe is sent"
    ACKNOWLEDGED = "the exchange acknowledged subscribe, or sent data instead of an answer"
    REFUSED = "the exchange refused the topic"
    RETRY = "subscribe failed because of another topic, or was not answered"
    INCOMPLETE = "something is missing that only a new subscription brings"
    UNSUBSCRIBE = "unsubscribe is sent"
    UNSUBSCRIBED = "the exchange acknowledged unsubscribe"
    UNCERTAIN = "whether the exchange unsubscribed, or must, is unknown: there was no answer"
    DISCONNECTED = "the connection is lost, and with it every subscription"


TOPIC_TRANSITIONS = {
    (TopicState.PENDING, TopicEvent.SUBSCRIBE): TopicState.SUBSCRIBING,
    (TopicState.PENDING, TopicEvent.INCOMPLETE): TopicState.PENDING,
    (TopicState.PENDING, TopicEvent.DISCONNECTED): TopicState.PENDING,
    (TopicState.SUBSCRIBING, TopicEvent.ACKNOWLEDGED): TopicState.SUBSCRIBED,
    (TopicState.SUBSCRIBING, TopicEvent.REFUSED): TopicState.REJECTED,
    (TopicState.SUBSCRIBING, TopicEvent.RETRY): TopicState.PENDING,
    (TopicState.SUBSCRIBING, TopicEvent.UNCERTAIN): TopicState.RENEWING,
    (TopicState.SUBSCRIBING, TopicEvent.INCOMPLETE): TopicState.OUTDATED,
    (TopicState.SUBSCRIBING, TopicEvent.DISCONNECTED): TopicState.PENDING,
    (TopicState.OUTDATED, TopicEvent.ACKNOWLEDGED): TopicState.RENEWING,
    (TopicState.OUTDATED, TopicEvent.REFUSED): TopicState.REJECTED,
    (TopicState.OUTDATED, TopicEvent.RETRY): TopicState.PENDING,
    (TopicState.OUTDATED, TopicEvent.UNCERTAIN): TopicState.RENEWING,
    (TopicState.OUTDATED, TopicEvent.INCOMPLETE): TopicState.OUTDATED,
    (TopicState.OUTDATED, TopicEvent.DISCONNECTED): TopicState.PENDING,
    (TopicState.SUBSCRIBED, TopicEvent.INCOMPLETE): TopicState.RENEWING,
    (TopicState.SUBSCRIBED, TopicEvent.UNSUBSCRIBE): TopicState.UNSUBSCRIBING,
    (TopicState.SUBSCRIBED, TopicEvent.DISCONNECTED): TopicState.PENDING,
    (TopicState.RENEWING, TopicEvent.INCOMPLETE): TopicState.RENEWING,
    (TopicState.RENEWING, TopicEvent.UNSUBSCRIBE): TopicState.UNSUBSCRIBING,
    (TopicState.RENEWING, TopicEvent.DISCONNECTED): TopicState.PENDING,
    (TopicState.UNSUBSCRIBING, TopicEvent.UNSUBSCRIBED): TopicState.PENDING,
    (TopicState.UNSUBSCRIBING, TopicEvent.UNCERTAIN): TopicState.RENEWING,
    (TopicState.UNSUBSCRIBING, TopicEvent.INCOMPLETE): TopicState.UNSUBSCRIBING,
    (TopicState.UNSUBSCRIBING, TopicEvent.DISCONNECTED): TopicState.PENDING,
    (TopicState.REJECTED, TopicEvent.SUBSCRIBE): TopicState.SUBSCRIBING,
    (TopicState.REJECTED, TopicEvent.INCOMPLETE): TopicState.REJECTED,
    (TopicState.REJECTED, TopicEvent.DISCONNECTED): TopicState.REJECTED,
}
"""As above. A topic that is not wanted any more is forgotten instead of becoming PENDING or REJECTED."""


class TopicEvidence(IntEnum):
    """What shows that the exchange serves a topic, each stronger than the one before."""

    NONE = 0
    ACKNOWLEDGED = 1  # which option also does for topics that it does not have
    PROVEN = 2  # data came, on this subscription or an earlier one
    FLOWING = 3  # data came since the latest request
