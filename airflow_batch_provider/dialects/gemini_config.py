"""What a Gemini request says besides its messages and tools: sampling, thinking, media, and Gemini's own parameters.

Sources: ``GenerationConfig`` and ``GenerateContentConfig`` of google-genai 2.34; Google, "OpenAI compatibility", whose
``extra_body`` carries Gemini's own parameters below ``google``; what each model takes:
:mod:`airflow_batch_provider.dialects.facts.gemini`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from airflow_batch_provider.core.errors import UntranslatableError
from airflow_batch_provider.core.records import JSON
from airflow_batch_provider.dialects.chat import ChatDialect, Write
from airflow_batch_provider.dialects.chat_keys import ChatKeys
from airflow_batch_provider.dialects.columns import pruned
from airflow_batch_provider.dialects.envelopes import ROW_LABEL
from airflow_batch_provider.dialects.families import Family
from airflow_batch_provider.dialects.options import EFFORTS, check_sampling, read_effort, read_whole
from airflow_batch_provider.dialects.parts import stop_list

_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Thinking tokens per effort, as Google's own OpenAI-compatible endpoint maps them."""
_LITTLE = 1024
"""Fewer output tokens than this are mostly used up by the thoughts of a model that decides by itself how long it thinks
(the least budget of a low effort)."""
_SAFETY = ("category", "threshold", "method")
_HOLDERS = ("extra_body", "google", "generation_config")
"""Objects whose members are parameters themselves."""
_CONFIG = (
    *("media_resolution", "audio_timestamp", "speech_config", "image_config", "routing_config"),
    *("model_selection_config", "enable_affective_dialog", "translation_config", "audio_transcription_config"),
)
"""Gemini's own parameters that go into ``generationConfig`` as they are written."""
_NO_CACHE = (
    "Vertex AI's batches do not accept cached content: write it into the messages; what prompts share is cached anyway"
)
"""Google: "Model gemini-2.5-flash-001 does not support cached content with batch prediction."; python-genai#509."""


def camel_name(name: str) -> str:
    """A name as REST writes it."""
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def camel(value: Any) -> Any:
    """Names as REST writes them, at every depth."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {camel_name(name): camel(item) for name, item in value.items()}


def snake(name: str) -> str:
    """A parameter's name as Python writes it."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: f"_{found[0].lower()}", name)


class GeminiConfig(ChatDialect):
    """The part of Gemini's dialect that needs no messages.

    :param family: facts of the model's family.
    :param model: the model's id.
    :param keys: the keys below the top level.
    """

    provider: ClassVar[str] = "Gemini"

    def __init__(self, family: Family, model: str, keys: ChatKeys) -> None:
        super().__init__(keys)
        self._facts = family.facts
        self._model = model
        self._where: dict[str, str] = {}
        self.free = False
        """Whether the request written last has parts whose names and types are the author's own."""
        self.fields |= {
            "max_tokens": self._max_tokens,
            "max_completion_tokens": self._max_tokens,
            "max_output_tokens": self._max_tokens,
            "temperature": self._number("temperature", 0, self._facts.max_temperature),
            "top_p": self._number("topP", 0, 1),
            "top_k": self._number("topK", 1, self._facts.max_top_k or 1_000_000),
            "presence_penalty": self._penalty("presencePenalty"),
            "frequency_penalty": self._penalty("frequencyPenalty"),
            "seed": self._seed,
            "stop": self._stop,
            "stop_sequences": self._stop,
            "candidate_count": self._one_choice,
            "logit_bias": self._no("remove the field"),
            "reasoning_effort": self._effort,
            "thinking_config": self._thinking,
            "thinking": self._claudes_thinking,
            "safety_settings": self._safety,
            "labels": self._labels,
            "modalities": self._modalities,
            "response_modalities": self._modalities,
            "audio": self._audio,
            "model_armor_config": self._own,
            "cached_content": self._never(_NO_CACHE),
            "enable_enhanced_civic_answers": self._never("Vertex AI does not take it; leave it out"),
            **dict.fromkeys(("contents", "system_instruction"), self._never("write messages instead")),
            **dict.fromkeys(
                ("response_mime_type", "response_schema", "response_json_schema"),
                self._never("write response_format instead"),
            ),
            "tool_config": self._never("write tool_choice instead"),
            **dict.fromkeys(_CONFIG, self._own),
        }

    def refuse(self, field: str, message: str) -> UntranslatableError:
        """The error of a field, named where the author wrote it."""
        name = re.match(r"\w+", field)
        head = name[0] if name else ""
        return super().refuse(self._where.get(head, head) + field[len(head) :], message)

    def opened(self, body: JSON) -> JSON:
        """The body with the members of ``extra_body``, ``google`` and ``generation_config`` as its own, and Gemini's
        names as Python writes them."""
        self._where = {}
        if not any(self._is_own(name) for name in body if name not in _PLAIN):
            return body
        out: JSON = {}
        self._open(body, "", out)
        return out

    @staticmethod
    def _is_own(name: str) -> bool:
        return name.startswith("google:") or snake(name) in _HOLDERS or snake(name) != name

    def _open(self, given: JSON, path: str, out: JSON) -> None:
        for name, value in given.items():
            plain = name.removeprefix("google:")
            known = snake(plain)
            if known in _HOLDERS and isinstance(value, dict):
                self._open(value, f"{path}{name}.", out)
                continue
            key = known if known in self.fields or known in _HOLDERS else plain
            if key in out and out[key] != value and None not in (out[key], value):
                raise UntranslatableError(
                    f"body.{path}{name}", f"given twice; body.{self._where.get(key, key)} differs"
                )
            if out.get(key) is None:
                out[key] = value
                self._where[key] = f"{path}{name}"

    # ---- numbers -----------------------------------------------------------------------------------------------

    def _never(self, reason: str) -> Write:
        def write(_value: Any, _body: JSON, _out: JSON) -> None:
            raise self.refuse(self._field, reason)

        return write

    def _max_tokens(self, value: Any, body: JSON, out: JSON) -> None:
        if self._field != "max_completion_tokens" and body.get("max_completion_tokens") is not None:
            self._newer_tokens(value, body, out)
            return
        wanted, most = read_whole(self._field, value, 1), self._facts.max_output
        if most is not None and wanted > most:
            reason = f"{self._model} returns at most {most:,} tokens; this limit is sent for rows that set more"
            self.notes.setdefault(f"body.{self._field}", reason)
            wanted = most
        out["generationConfig"]["maxOutputTokens"] = wanted

    def _number(self, name: str, least: float, most: float) -> Write:
        def write(value: Any, body: JSON, out: JSON) -> None:
            if type(value) not in (int, float) or not least <= value <= most:
                raise self.refuse(self._field, f"must be a number from {least:g} to {most:g} for {self._model}")
            if name == "topK" and not self._facts.top_k:
                raise self.refuse(self._field, f"{self._model} does not accept top_k; remove it")
            if self._facts.sampling == "none":
                self.note(self._field, f"{self._model} ignores sampling settings")
                return
            if name != "topK":
                check_sampling(self._facts, self._field, body, value)
            # Always a float: the importer wants one type in the whole file.
            out["generationConfig"][name] = float(value)

        return write

    def _penalty(self, name: str) -> Write:
        taken = self._number(name, -2, 2)

        def write(value: Any, body: JSON, out: JSON) -> None:
            if self._facts.penalties:
                taken(value, body, out)
            elif value != 0:
                raise self.refuse(self._field, f"{self._model} does not accept penalties; remove the field")

        return write

    def _seed(self, value: Any, body: JSON, out: JSON) -> None:
        if type(value) is not int or not -(2**31) <= value < 2**31:
            raise self.refuse("seed", f"must be a whole number of 32 bits for {self.provider}")
        out["generationConfig"]["seed"] = value

    def _stop(self, value: Any, body: JSON, out: JSON) -> None:
        if stops := stop_list(value, self.provider, 5):
            out["generationConfig"]["stopSequences"] = stops

    # ---- thinking ----------------------------------------------------------------------------------------------

    def _effort(self, value: Any, body: JSON, out: JSON) -> None:
        effort = read_effort(value)
        if body.get("thinking_config") is not None:
            raise self.refuse("reasoning_effort", "thinking_config sets it as well; remove one of them")
        facts = self._facts
        if facts.thinking == "none" or not facts.efforts:
            if effort != "none":
                self.note("reasoning_effort", f"{self._model} has no such setting")
            return
        written = _nearest(effort, facts.efforts)
        if written != effort and (effort, written) not in (("xhigh", "high"), ("max", "high")):
            reason = f"{self._model} accepts {', '.join(facts.efforts)}; another one is changed to the next of these"
            self.notes.setdefault("body.reasoning_effort", reason)
        if facts.thinking == "level":
            thinking: JSON = {"thinkingLevel": written.upper()}
        elif effort == "none":
            thinking = {"thinkingBudget": facts.min_budget if facts.thinking_off == "never" else 0}
        else:
            budget = max(_BUDGETS[written], facts.min_budget)
            thinking = {"thinkingBudget": min(budget, facts.max_budget or budget)}
        out["generationConfig"]["thinkingConfig"] = thinking

    def _thinking(self, value: Any, body: JSON, out: JSON) -> None:
        given = camel(value) if isinstance(value, dict) else {}
        given = {name: item for name, item in given.items() if item is not None}
        if not given or given.keys() - {"thinkingBudget", "thinkingLevel", "includeThoughts"}:
            raise self.refuse("thinking_config", "must hold thinking_budget or thinking_level, and include_thoughts")
        facts, budget, level = self._facts, given.get("thinkingBudget"), given.get("thinkingLevel")
        if facts.thinking == "none":
            if budget != 0:
                raise self.refuse("thinking_config", f"{self._model} does not think; leave it out")
            return
        if budget is not None and level is not None:
            raise self.refuse("thinking_config", "takes thinking_budget or thinking_level, not both")
        if type(given.get("includeThoughts", True)) is not bool:
            raise self.refuse("thinking_config.include_thoughts", "must be true or false")
        if level is not None:
            given["thinkingLevel"] = self._level(level)
        elif budget is not None:
            self._check_budget(budget)
        out["generationConfig"]["thinkingConfig"] = given

    def _claudes_thinking(self, value: Any, body: JSON, out: JSON) -> None:
        """Claude's object: enabled with a budget, adaptive, disabled."""
        kind = value.get("type") if isinstance(value, dict) else None
        if kind not in ("enabled", "adaptive", "disabled"):
            raise self.refuse("thinking.type", "must be enabled, adaptive or disabled")
        for other in ("reasoning_effort", "thinking_config"):
            if body.get(other) is not None:
                raise self.refuse("thinking", f"{other} sets it as well; remove one of them")
        if value.get("display") is not None:
            self.note("thinking.display", "include_thoughts of thinking_config says whether thoughts come back")
        if self._facts.thinking == "none":
            if kind != "disabled":
                raise self.refuse("thinking", f"{self._model} does not think; leave it out")
        elif kind == "adaptive" and self._facts.thinking == "level":
            self.note("thinking", "the model decides by itself how long it thinks")
        elif kind == "disabled" and self._facts.thinking_off == "never":
            message = f"{self._model} cannot be kept from thinking; leave it out, or set reasoning_effort to low"
            raise self.refuse("thinking.type", message)
        else:
            budget = {"disabled": 0, "adaptive": -1}.get(kind, value.get("budget_tokens"))
            self._check_budget(budget, "thinking.budget_tokens")
            out["generationConfig"]["thinkingConfig"] = {"thinkingBudget": budget}

    def check_room(self, config: JSON) -> None:
        """Note that thoughts share ``maxOutputTokens`` with the answer, where they may leave nothing of it.

        Google, "Thinking": thoughts count as output, and the answer is cut where they have used the limit.
        """
        most = config.get("maxOutputTokens")
        thinking = config.get("thinkingConfig", {})
        budget = thinking.get("thinkingBudget", -1 if thinking or self._facts.thinks_unasked else 0)
        if most is None or budget == 0 or self._facts.thinking == "none":
            return
        if budget >= most or (budget < 0 and most < _LITTLE):
            reason = "thoughts count as output, and may use up all of it; allow more tokens, or less thinking"
            self.notes.setdefault("body.max_tokens", f"{self._model} thinks before it answers: {reason}")

    def _level(self, level: Any) -> str:
        taken = self._facts.efforts if self._facts.thinking == "level" else ()
        if not isinstance(level, str) or level.lower() not in taken:
            known = f"takes {', '.join(taken)}" if taken else "takes thinking_budget"
            raise self.refuse("thinking_config.thinking_level", f"{self._model} {known}, not {level!r}")
        return level.upper()

    def _check_budget(self, budget: Any, field: str = "thinking_config.thinking_budget") -> None:
        """-1 leaves it to the model; Gemini 3 still takes budgets, whose bounds Google does not tell."""
        facts = self._facts
        off = budget == 0 and facts.thinking_off != "never"
        most = facts.max_budget
        if type(budget) is int and (budget == -1 or off or facts.min_budget <= budget <= (most or budget)):
            return
        bounds = f"-1, {facts.min_budget:,} to {most:,}" if most else f"-1, or {facts.min_budget:,} and more"
        bounds += "" if facts.thinking_off == "never" else ", or 0 for none"
        raise self.refuse(field, f"{self._model} takes {bounds}; not {budget!r}")

    # ---- Gemini's own ------------------------------------------------------------------------------------------

    def _safety(self, value: Any, body: JSON, out: JSON) -> None:
        settings = value if isinstance(value, list) else [None]
        for index, setting in enumerate(settings):
            good = isinstance(setting, dict) and setting.keys() <= set(_SAFETY) and len(setting) > 1
            if not good or not all(isinstance(word, str) for word in setting.values()):
                raise self.refuse(f"{self._field}[{index}]", 'must be {"category": "...", "threshold": "..."}')
        if settings:
            out["safetySettings"] = settings

    def _labels(self, value: Any, body: JSON, out: JSON) -> None:
        """Google Cloud, "Labels"; a name becomes a column of the importer, which takes no hyphen."""
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self.refuse("labels", "must be an object of texts")
        for name, text in value.items():
            if name == ROW_LABEL:
                raise self.refuse(f"labels.{name}", "is how rows are found again; choose another name")
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name) or not re.fullmatch(r"[\w-]{0,63}", text.lower()):
                rule = "at most 63 lower-case letters, digits, _ and -, the name with a letter first"
                raise self.refuse(f"labels.{name}", f"Google takes {rule}")
        if value:
            out["labels"] = dict(value)
            self.free = True

    def _own(self, value: Any, body: JSON, out: JSON) -> None:
        written = pruned(camel(value))
        if written is None or written == []:
            return
        place = out if self._field == "model_armor_config" else out["generationConfig"]
        place[camel_name(self._field)] = written
        self.free = True

    def _modalities(self, value: Any, body: JSON, out: JSON) -> None:
        words = [str(word).lower() for word in value] if isinstance(value, list) else []
        if not words or not set(words) <= {"text", "image", "audio"}:
            raise self.refuse(self._field, 'must be an array of "text", "image" and "audio"')
        if words == ["text"]:
            return
        if not self._facts.media_out:
            remedy = 'if it answers with more, set media_out of the connection\'s model_facts, else write ["text"]'
            raise self.refuse(self._field, f"{self._model} answers in text only; {remedy}")
        out["generationConfig"]["responseModalities"] = [word.upper() for word in words]

    def _audio(self, value: Any, body: JSON, out: JSON) -> None:
        voice = value.get("voice") if isinstance(value, dict) else None
        if not isinstance(voice, str) or not voice:
            raise self.refuse("audio.voice", "must be the name of one of Gemini's voices, such as Kore")
        if value.get("format") not in (None, "pcm16"):
            raise self.refuse("audio.format", "Gemini answers in pcm16; write that")
        if not self._facts.media_out:
            raise self.refuse("audio", f"{self._model} answers in text only; leave it out")
        out["generationConfig"]["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}


def _nearest(effort: str, taken: tuple[str, ...]) -> str:
    """The effort itself, else the next higher one that is taken, else the highest."""
    known = sorted(taken, key=EFFORTS.index)
    return next((one for one in known if EFFORTS.index(one) >= EFFORTS.index(effort)), known[-1])


_PLAIN = frozenset({"model", "messages", "max_tokens", "temperature", "max_completion_tokens", "top_p", "seed", "stop"})
"""Names that need no look, in most bodies all there are."""
