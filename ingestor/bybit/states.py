"""The states of a socket and of a topic on it, and how a socket goes from one to the next."""

from enum import StrEnum


class State(StrEnum):
    IDLE = "idle"  # nothing is wanted
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"
    LIVE = "live"
    BACKOFF = "backoff"  # waits before it connects again
    PARKED = "parked"  # a person must act; tried again rarely


class Happening(StrEnum):
    WANTED = "a topic is wanted"
    OPENED = "the socket is open"
    CHALLENGED = "the socket is open and asks who we are"
    AUTHENTICATED = "the exchange knows us"
    REFUSED = "the exchange does not want our key, or there is none"
    LOST = "the socket is gone"
    DUE = "the wait is over"
    RENEWED = "there are new credentials"
    UNWANTED = "nothing is wanted any more"


TRANSITIONS = {
    (State.IDLE, Happening.WANTED): State.CONNECTING,
    (State.CONNECTING, Happening.OPENED): State.LIVE,
    (State.CONNECTING, Happening.CHALLENGED): State.AUTHENTICATING,
    (State.CONNECTING, Happening.REFUSED): State.PARKED,
    (State.CONNECTING, Happening.LOST): State.BACKOFF,
    (State.AUTHENTICATING, Happening.AUTHENTICATED): State.LIVE,
    (State.AUTHENTICATING, Happening.REFUSED): State.PARKED,
    (State.AUTHENTICATING, Happening.LOST): State.BACKOFF,
    (State.LIVE, Happening.LOST): State.BACKOFF,
    (State.LIVE, Happening.UNWANTED): State.IDLE,
    (State.BACKOFF, Happening.DUE): State.CONNECTING,
    (State.BACKOFF, Happening.UNWANTED): State.IDLE,
    (State.PARKED, Happening.DUE): State.CONNECTING,
    (State.PARKED, Happening.RENEWED): State.CONNECTING,
    (State.PARKED, Happening.UNWANTED): State.IDLE,
}
"""Read: in this state, when this happens, comes that state. What is not here cannot happen."""


class TopicState(StrEnum):
    WANTED = "wanted"  # to be asked for as soon as the socket is live
    ASKED = "asked"
    HELD = "held"
    LEAVING = "leaving"
    REJECTED = "rejected"
