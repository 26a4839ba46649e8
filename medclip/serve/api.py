"""The requests that the page makes, and that programs can make: films, answers, heatmaps and reports."""

from __future__ import annotations

import asyncio
import base64
import json
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Body, Depends, File, Form, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import JSONResponse

from labelers.errors import UserError
from labelers.vocabulary import vocabulary_names
from medclip.data.grey import ImageError
from medclip.serve import pictures, questions, reports, written
from medclip.serve.films import Film
from medclip.serve.questions import Sentence
from medclip.serve.service import Service

router = APIRouter(prefix="/api")
_MISSING = "This film is not held, or no more. Send it again."


def service_of(request: Request) -> Service:
    """Returns the service that answers."""
    service: Service = request.app.state.service
    return service


Asked = Annotated[Service, Depends(service_of)]
Files = Annotated[list[UploadFile] | None, File(description="Films: JPEG, PNG or DICOM.")]
FilmIds = Annotated[list[str] | None, Form(description="Ids of films that were sent to /api/films.")]
Prompts = Annotated[str, Form(description="Name of a prompt set; by default the first on offer.")]


@router.get("/about", summary="What this service can do")
def about(service: Asked) -> dict[str, Any]:
    """Returns what is on offer: prompt sets, vocabularies, limits, and whether there are heatmaps and an index."""
    limits = service.config
    return {
        "prompt_sets": service.prompt_sets,
        "vocabularies": vocabulary_names(),
        "heatmaps": service.has_heatmaps,
        "search": service.searcher is not None,
        "index": service.searcher.about() if service.searcher else None,
        "limits": {
            "files": limits.max_files, "megabytes": limits.max_megabytes, "megapixels": limits.max_megapixels,
            "sentences": questions.MAX_SENTENCES, "characters": reports.MAX_CHARACTERS,
        },
        "note": "Research software. Not a medical device.",
    }  # fmt: skip


@router.post("/films", summary="Send films to ask about")
async def add_films(service: Asked, files: Annotated[list[UploadFile], File()]) -> dict[str, Any]:
    """Returns an id for each film, or an `error` for a file that cannot be read. Films are held in memory only."""
    taken = await _films(service, files, None)
    return {"films": [row | (_held(service, film) if film else {}) for row, film in taken]}


@router.delete("/films", summary="Forget films")
def drop_films(service: Asked, ids: Annotated[list[str], Body(embed=True)]) -> dict[str, int]:
    """Drops films from memory; returns how many were held."""
    return {"dropped": service.films.drop(ids)}


@router.get("/films/{name}/image", summary="A film as the model's reader shows it", response_class=Response)
async def film_image(service: Asked, name: str, side: Annotated[int, Query(ge=16, le=4096)] = 2048) -> Response:
    """Returns a PNG file whose longer side is at most `side`."""
    film = _film(service, name)
    decoded = await service.decode(film.content, at_least=min(side, pictures.LARGEST))
    fitted = partial(pictures.fitted, decoded.array, min(side, pictures.LARGEST))
    return Response(await asyncio.to_thread(lambda: pictures.png(fitted())), media_type="image/png")


@router.get("/films/{name}/levels", summary="Values of a DICOM film for windows", response_class=Response)
async def film_levels(service: Asked, name: str) -> Response:
    """Returns uint16 levels, little endian; the header X-Levels tells their size and what they mean, as JSON."""
    decoded = await service.decode(_film(service, name).content, values=True)
    array = pictures.fitted(decoded.array, pictures.LARGEST)
    facts = decoded.facts | {"height": array.shape[0], "width": array.shape[1]}
    body = np.ascontiguousarray(array, dtype="<u2").tobytes()
    return Response(body, media_type="application/octet-stream", headers={"X-Levels": json.dumps(facts)})


@router.post("/classify", summary="What is in these films?")
async def classify(
    service: Asked,
    files: Files = None,
    film: FilmIds = None,
    prompts: Prompts = "",
    sentences: Annotated[list[str] | None, Form(description="Free sentences, instead of prompts.")] = None,
) -> dict[str, Any]:
    """Returns answers for each film, by a prompt set or by sentences; a file that cannot be read has an `error`.

    A sentence may have an opposite: "There is edema. | No edema."
    """
    asked = questions.split_sentences(sentences or [])
    prompts = prompts or service.first_prompts
    scores = None if asked else await asyncio.to_thread(service.prompts, prompts)
    embedded = await asyncio.to_thread(_embedded, service, asked)
    rows = []
    for row, found in await _films(service, files, film):
        if found is not None:
            embed = found.encoding.embed
            _check_numbers(embed)
            row["answers"] = (
                questions.answer_sentences(embedded, embed, scale=service.classifier.scale)
                if scores is None
                else questions.answer_prompts(scores, embed)
            )
        rows.append(row)
    return questions.meaning(scores) | {"prompts": None if scores is None else prompts, "films": rows}


@router.post("/heatmap", summary="Where is it?", response_model=None)
async def heatmap(
    service: Asked,
    files: Files = None,
    film: FilmIds = None,
    sentence: Annotated[str, Form()] = "",
    observation: Annotated[str, Form(description="Of the prompt set, instead of a sentence.")] = "",
    prompts: Prompts = "",
    form: Annotated[str, Form(pattern="^(json|png)$", description="json, or png: drawn over the film.")] = "json",
) -> Response | dict[str, Any]:
    """Returns where in one film a sentence or an observation is: what each place adds to the similarity, coloured.

    As JSON, `image` is a PNG file in base64, transparent where the map is in the lower half of its range.
    """
    if not service.has_heatmaps:
        raise UserError("An export has no gradients, so it cannot say where something is. Serve the model itself.")
    found = await _one_film(service, files, film)
    text = await asyncio.to_thread(_direction, service, sentence, observation, prompts)
    drawn = await asyncio.to_thread(service.heatmap, found, text)
    low, high = round(float(drawn.min()), 4), round(float(drawn.max()), 4)
    if form == "json":
        picture = await asyncio.to_thread(lambda: pictures.png(pictures.colours(_fitted_map(drawn))))
        shown = base64.b64encode(picture).decode()
        return {"text": sentence or observation, "low": low, "high": high, "image": shown}
    decoded = await service.decode(found.content, at_least=pictures.LARGEST)  # larger than the model takes a JPEG
    image = await asyncio.to_thread(pictures.with_map, pictures.fitted(decoded.array, pictures.LARGEST), drawn)
    return Response(pictures.png(image), media_type="image/png", headers={"X-Low": str(low), "X-High": str(high)})


@router.post("/search", summary="Search the index by text, film, or both")
async def search(
    service: Asked,
    text: Annotated[str, Form(max_length=questions.MAX_LENGTH)] = "",
    files: Files = None,
    film: FilmIds = None,
    k: Annotated[int, Form(description="Number of results.")] = 12,
) -> dict[str, Any]:
    """Returns the nearest of the index: by the cosine with the text, the film, or the mean of both."""
    if service.searcher is None:
        raise UserError("There is no index. Start the service with --index FILE, as medclip-search builds it.")
    queries = [(await _one_film(service, files, film)).encoding.embed] if files or film else []
    if text.strip():
        queries.append((await asyncio.to_thread(service.embed_texts, [text]))[0])
    if not queries:
        raise UserError("Found neither text nor film. Send one of them, or both.")
    return await asyncio.to_thread(service.searcher.search, np.mean(queries, axis=0), k)


@router.get("/index/{row}/image", summary="A film of the index", response_class=Response)
async def index_image(service: Asked, row: int) -> Response:
    """Returns a film that a search found, as a small PNG file."""
    if service.searcher is None:
        raise UserError("There is no index. Start the service with --index FILE, as medclip-search builds it.")
    found = await asyncio.to_thread(service.searcher.content, row)
    array = found if isinstance(found, np.ndarray) else (await service.decode(found, at_least=256)).array
    return Response(pictures.png(pictures.fitted(array, 320)), media_type="image/png")


@router.get("/run", summary="What is written beside the model")
def run(service: Asked) -> dict[str, Any]:
    """Returns the model card, the names of the evaluations, and the training curves."""
    return {
        "card": written.card(service.run),
        "evaluations": list(written.evaluations(service.run)),
        "curves": written.curves(service.run),
    }


@router.post("/label", summary="What does this report say?", response_model=None)
def label(
    text: Annotated[str, Body()],
    vocabulary: Annotated[str, Body(description="By default that of the text's language.")] = "",
    form: Annotated[str, Body(pattern="^(json|fhir)$")] = "json",
) -> Response | dict[str, Any]:
    """Returns sections, states and findings of a report with the characters they stand at, or a FHIR R4 Bundle."""
    if form == "fhir":
        return JSONResponse(reports.read_as_fhir(text, vocabulary), media_type="application/fhir+json")
    return reports.read_report(text, vocabulary)


def _check_number(service: Service, files: list[UploadFile]) -> None:
    if len(files) > service.config.max_files:
        raise HTTPException(413, f"Found {len(files)} files; a request takes {service.config.max_files}. Send several.")


async def _content(service: Service, file: UploadFile) -> bytes:
    limit = service.config.max_megabytes * 1_000_000
    if (file.size or 0) > limit:
        raise ImageError(f"{(file.size or 0) / 1e6:.0f} MB are more than this service takes, {limit / 1e6:.0f}")
    return await file.read(limit + 1)


def _film(service: Service, name: str) -> Film:
    found = service.films.get(name)
    if found is None:
        raise HTTPException(404, _MISSING)
    return found


async def _films(
    service: Service, files: list[UploadFile] | None, ids: list[str] | None
) -> list[tuple[dict[str, Any], Film | None]]:
    """Returns a row and the film for each file and id; a row has an `error` where there is no film."""
    _check_number(service, files or [])
    held = [_known(service, name) for name in ids or []]
    sent = await asyncio.gather(*(_taken(service, file) for file in files or []))
    if not held and not sent:
        raise UserError("Which film? Send it as `files`, or its id as `film`.")
    return [*sent, *held]


async def _one_film(service: Service, files: list[UploadFile] | None, ids: list[str] | None) -> Film:
    """Returns the first film of a request."""
    row, found = (await _films(service, files, ids))[0]
    if found is None:
        if "missing" in row:
            raise HTTPException(404, _MISSING)
        raise ImageError(row["error"])
    return found


def _known(service: Service, name: str) -> tuple[dict[str, Any], Film | None]:
    found = service.films.get(name)
    return ({"id": name}, found) if found else ({"id": name, "missing": True, "error": _MISSING}, None)


async def _taken(service: Service, file: UploadFile) -> tuple[dict[str, Any], Film | None]:
    try:
        return {"name": file.filename}, await service.take(await _content(service, file))
    except ImageError as error:
        return {"name": file.filename, "error": str(error)}, None


def _held(service: Service, film: Film) -> dict[str, Any]:
    facts = film.facts
    size = {"width": facts["full_width"], "height": facts["full_height"], "dicom": facts["dicom"]}
    return {"id": service.films.add(film), **size}


def _embedded(service: Service, asked: list[tuple[str, str]]) -> list[Sentence]:
    if not asked:
        return []
    texts = list(dict.fromkeys(text for pair in asked for text in pair if text))
    embeds = dict(zip(texts, service.embed_texts(texts), strict=True))
    return [Sentence(text, embeds[text], embeds[opposite] if opposite else None) for text, opposite in asked]


def _direction(service: Service, sentence: str, observation: str, prompts: str) -> np.ndarray:
    """Returns the direction (D,) of what is looked for: of an observation, from its absence to its presence."""
    if sentence.strip():
        return service.embed_texts([text for text, _ in questions.split_sentences([sentence])])[0]
    scores = service.prompts(prompts or service.first_prompts)
    if observation not in scores.observations:
        raise UserError(f"There are no prompts for {observation!r}; known: {', '.join(scores.observations)}.")
    row = scores.observations.index(observation)
    return scores.positive.centres()[row] - scores.negative.centres()[row]


def _fitted_map(drawn: np.ndarray) -> np.ndarray:
    """Returns a heatmap that is no larger than a page shows; it has no detail that would be lost."""
    import cv2

    height, width = drawn.shape
    share = min(1.0, 512 / max(height, width))
    return np.asarray(cv2.resize(drawn, (max(1, round(width * share)), max(1, round(height * share)))))


def _check_numbers(embed: np.ndarray) -> None:
    if not np.isfinite(embed).all():
        raise UserError("The model computes NaN: its weights are damaged, or its training failed. Serve another.")
