"""What the ingestor reports: topics, connections, queues and gaps."""

from apiflask import APIBlueprint

from api.http.auth import caller
from api.schemas.common import Page
from api.schemas.observed import GapFilters, SeenGaps, SeenQueues, SeenSockets, SeenTopics
from api.services.guarded_database import GuardedDatabase
from common.views import connections as connections_view
from common.views import gaps as gaps_view
from common.views import queues as queues_view
from common.views import topics as topics_view
from common.views.connections import ConnectionView
from common.views.gaps import GapView
from common.views.pages import FullList, ResultPage
from common.views.queues import QueueView
from common.views.topics import TopicView


def routes(database: GuardedDatabase) -> APIBlueprint:
    blueprint = APIBlueprint("observed", __name__, url_prefix="/api/v1")

    @blueprint.get("/topics")
    @blueprint.input(Page, location="query")
    @blueprint.output(SeenTopics)
    def topics(query_data: Page) -> ResultPage[TopicView]:
        """The topics that the gateway is subscribed to; a service sees those that it subscribes to itself."""
        with database.reading() as connection:
            return topics_view.page(connection, caller().service, query_data.limit, query_data.offset)

    @blueprint.get("/connections")
    @blueprint.output(SeenSockets)
    def connections() -> FullList[ConnectionView]:
        """The connections to the exchange; a service sees those of the endpoints that it subscribes to."""
        with database.reading() as connection:
            return FullList(connections_view.visible_to(connection, caller().service))

    @blueprint.get("/queues")
    @blueprint.input(Page, location="query")
    @blueprint.output(SeenQueues)
    def queues(query_data: Page) -> ResultPage[QueueView]:
        """The queues and how full they are; a service sees its own."""
        with database.reading() as connection:
            return queues_view.page(connection, caller().service, query_data.limit, query_data.offset)

    @blueprint.get("/gaps")
    @blueprint.input(GapFilters, location="query")
    @blueprint.output(SeenGaps)
    def gaps(query_data: GapFilters) -> ResultPage[GapView]:
        """The windows in which data may be missing, newest first; a service sees those of its topics."""
        with database.reading() as connection:
            return gaps_view.page(connection, caller().service, query_data.open, query_data.limit, query_data.offset)

    return blueprint
