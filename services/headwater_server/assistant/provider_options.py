"""The keys of a provider's table in the settings that only its own API knows."""

from __future__ import annotations

from headwater_server.assistant.protocol import ProviderSettings


class ProviderOptions:
    """Reads the keys one by one; what nobody has asked for is refused at the end."""

    def __init__(self, api: str, settings: ProviderSettings) -> None:
        self._api = api
        self._where = f"assistants.{settings.name}"
        self._options = settings.options
        self._known: set[str] = set()

    def boolean(self, key: str, *, default: bool) -> bool:
        """A key that is true or false.

        Raises:
            ValueError: It is neither.
        """
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self._where}.{key}: must be true or false")  # noqa: TRY004 (a setting's value, not a call's)
        return value

    def text(self, key: str, *, default: str) -> str:
        """A key that is a text.

        Raises:
            ValueError: It is none.
        """
        value = self._value(key, default)
        if not isinstance(value, str):
            raise ValueError(f"{self._where}.{key}: must be a string")  # noqa: TRY004 (a setting's value, not a call's)
        return value

    def refuse_others(self) -> None:
        """Refuses keys that were not asked for.

        Raises:
            ValueError: There is one.
        """
        for key in self._options:
            if key not in self._known:
                known = f"those are {', '.join(sorted(self._known))}" if self._known else "it has none"
                raise ValueError(f"{self._where}.{key}: not a setting of {self._api}; {known}")

    def _value(self, key: str, default: object) -> object:
        self._known.add(key)
        return self._options.get(key, default)
