"""Bybit's hosts and limits, each with the page of the V5 documents that states it.

Rules that the API checks as well are in `common.channels`: endpoints, book depths and candle intervals.
"""

CATEGORIES = ("linear", "spot", "inverse", "option")
"""Categories of the REST calls (guide); `spread`, `rfq` and `fp` exist on sockets only."""

WEBSOCKET_ORIGINS = {
    "mainnet": ("wss://stream.bybit.com", "wss://stream.bybit.com"),
    "testnet": ("wss://stream-testnet.bybit.com", "wss://stream-testnet.bybit.com"),
    "demo": ("wss://stream.bybit.com", "wss://stream-demo.bybit.com"),
    "simulator": ("ws://127.0.0.1:4480", "ws://127.0.0.1:4480"),
}
"""Environment to (public, private) origin (websocket/connect); demo has no public data of its own (demo)."""

REST_ORIGINS = {
    "mainnet": "https://api.bybit.com",
    "testnet": "https://api-testnet.bybit.com",
    "demo": "https://api-demo.bybit.com",
    "simulator": "http://127.0.0.1:4480",
}
"""Environment to origin (guide, demo)."""

WEBSOCKET_PATHS = {
    "spot": "/v5/public/spot",
    "linear": "/v5/public/linear",
    "inverse": "/v5/public/inverse",
    "option": "/v5/public/option",
    "spread": "/v5/public/spread",
    "event": "/v5/public/event",
    "rfq": "/v5/public/rfq",
    "fp": "/v5/public/fp",
    "status": "/v5/public/misc/status",
    "private": "/v5/private",
}
"""Endpoint to URL path (websocket/connect)."""

# -- sockets (websocket/connect) ------------------------------------------------------------------------------

TOPICS_PER_REQUEST = 10  # spot refuses more; the other endpoints have no limit, but closed after very large requests
OPTION_TOPICS_PER_CONNECTION = 2_000
CHARACTERS_PER_CONNECTION = 21_000  # of the text of `args`, over all requests; of public endpoints
CONNECTS_PER_WINDOW = 500  # of a domain
CONNECT_WINDOW_S = 300.0
PING_EVERY_S = 20.0

# -- REST: the largest `limit` of a call, and how far back it reaches ------------------------------------------

INSTRUMENTS_PER_PAGE = 1_000  # market/instrument
TRADES_PER_PAGE = 1_000  # market/recent-trade, which has one page
SPOT_TRADES_PER_PAGE = 60  # market/recent-trade
CANDLES_PER_PAGE = 1_000  # market/kline
EXECUTIONS_PER_PAGE = 100  # order/execution
EXECUTION_HISTORY_MS = 7 * 86_400_000  # order/execution
ORDERS_PER_PAGE = 50  # order/open-order
POSITIONS_PER_PAGE = 200  # position

# -- REST: paths ---------------------------------------------------------------------------------------------

TIME_PATH = "/v5/market/time"  # market/time
INSTRUMENTS_INFO_PATH = "/v5/market/instruments-info"  # market/instrument
KLINE_PATH = "/v5/market/kline"  # market/kline
RECENT_TRADE_PATH = "/v5/market/recent-trade"  # market/recent-trade
WALLET_BALANCE_PATH = "/v5/account/wallet-balance"  # account/wallet-balance
OPEN_ORDERS_PATH = "/v5/order/realtime"  # order/open-order
POSITION_LIST_PATH = "/v5/position/list"  # position
EXECUTION_LIST_PATH = "/v5/execution/list"  # order/execution
API_KEY_PATH = "/v5/user/query-api"  # user/apikey-info
