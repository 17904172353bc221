"""What a connection and a run add to a create call: the secrets in it are sent, and not recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_batch_provider.core.errors import ConfigurationError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.core.redaction import NOT_RECORDED, secrets_in, with_secrets, without_secrets


class ExtraBody:
    """The ``extra_body`` of a connection, and of the create call that was made last.

    :param of_connection: added to every create call.
    """

    def __init__(self, of_connection: Mapping[str, Any]) -> None:
        self._all: JSON = dict(of_connection)
        self.of_connection = of_connection
        self.secrets = tuple(secrets_in(of_connection))

    def recorded(self, own: Mapping[str, Any] | None) -> JSON:
        """Both, as they go into the record of a create call.

        :param own: the run's.
        """
        self._all = {**self.of_connection, **(own or {})}
        self.secrets = tuple(dict.fromkeys([*self.secrets, *secrets_in(self._all)]))
        recorded: JSON = without_secrets(self._all)
        return recorded

    def whole(self, request: JSON) -> JSON:
        """A recorded create call as it is sent.

        :raises ConfigurationError: when a secret that was left out is not known here.
        """
        whole: JSON = with_secrets(request, self._all)
        if NOT_RECORDED in str(whole):
            raise ConfigurationError(
                "The create call was recorded without a secret of extra_body, and neither the connection nor "
                "backend_options holds it now; set it again and clear the task"
            )
        return whole
