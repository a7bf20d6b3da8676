"""The local judge against the calls of GenEval 2's program, written out; and the mistakes that a port invites."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import metrics
from metrics.errors import BadInputError, MetricError, MissingWeightsError
from metrics.image import vqascore
from metrics.image.geneval2 import read_questions
from metrics.image.unified_reward import parsed
from metrics.judge.answers import YES, number_spellings
from tests.unit.metrics.card_checks import check_card
from tests.unit.metrics.judge_folder import write_judge

SIZES = ((64, 64), (96, 64), (50, 130), (200, 150))
PROMPTS = ("two red dogs", 'a "seven" {in} braces', "Yes", "ein Hund, naïve")
QUESTIONS = [
    {
        "prompt": "two red dogs",
        "atom_count": 3,
        "vqa_list": [
            ["How many dogs are in the image?", "two"],
            ["Are the dogs red?", "Yes"],
            ["Are there any dogs in the image?", "Yes"],
        ],
        "skills": ["count", "attribute", "object"],
    }
]


def picture(place: int) -> Image.Image:
    small = np.random.default_rng(place).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(SIZES[place], Image.Resampling.BICUBIC)


PICTURES = [picture(place) for place in range(len(SIZES))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_judge(tmp_path_factory.mktemp("judge") / "tiny")


@pytest.fixture(scope="module")
def questions(folder: Path) -> Path:
    path = folder.parent / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return metrics.load("vqascore", weights=folder)


@pytest.fixture(scope="module")
def program(folder: Path) -> Any:
    """What the authors' program does with transformers, one question at a time: the shares of all first tokens."""
    from transformers import AutoTokenizer, Qwen2VLImageProcessor, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    tokenizer = AutoTokenizer.from_pretrained(folder)
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    images = Qwen2VLImageProcessor.from_pretrained(folder)
    processor = Qwen3VLProcessor(images, tokenizer, Qwen3VLVideoProcessor(), chat_template=template)
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder).eval()

    def shares(image: Image.Image, question: str) -> torch.Tensor:
        content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        out = model.generate(
            **inputs, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
        )
        found: torch.Tensor = out.scores[0].softmax(-1)[0]
        return found

    return tokenizer, shares


def expected(program: Any, image: Image.Image, question: str, spellings: tuple[str, ...]) -> float:
    tokenizer, shares = program
    found = shares(image, question)
    return sum(float(found[token]) for token in {tokenizer.encode(one)[0] for one in spellings})


PAIRS = [(image, prompt) for image in PICTURES for prompt in PROMPTS]


@pytest.fixture(scope="module")
def by_program(program: Any) -> list[float]:
    asked = 'Does this image show "{}"? Answer the question with Yes or No.'
    return [expected(program, image, asked.replace("{}", prompt), YES) for image, prompt in PAIRS]


def found_by(scorer: Any) -> torch.Tensor:
    found: torch.Tensor = scorer.score([image for image, _ in PAIRS], [prompt for _, prompt in PAIRS])
    return found


def worst(found: Any, wanted: list[float]) -> float:
    """The largest difference, over the largest value."""
    return float((torch.as_tensor(found).double() - torch.tensor(wanted)).abs().max() / max(wanted))


@pytest.mark.slow
def test_vqascore_is_the_programs(scorer: Any, by_program: list[float]) -> None:
    assert np.std(by_program) > 0.1 * max(by_program)  # else equal values would prove nothing
    found = found_by(scorer)
    print(f"vqascore: {len(PAIRS)} pairs, largest difference {worst(found, by_program):.1e} of the largest value")
    assert worst(found, by_program) < 1e-5
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_a_batch_changes_no_bit(scorer: Any, folder: Path) -> None:
    together = scorer.score(PICTURES, list(PROMPTS))
    scorer.judge._answers.clear()
    scorer.judge._features.clear()
    alone = [scorer.score([image], [prompt]) for image, prompt in zip(PICTURES, PROMPTS, strict=True)]
    assert torch.equal(together, torch.cat(alone))


def test_soft_tifa_is_the_programs(folder: Path, questions: Path, program: Any) -> None:
    row = QUESTIONS[0]
    values = [
        expected(
            program,
            PICTURES[0],
            f"{question} Answer in one word.",
            ("two", "Two", " two", " Two", "2", " 2") if question.startswith("How many") else YES,
        )
        for question, answer in row["vqa_list"]  # type: ignore[attr-defined]
    ]
    wanted = {
        "geneval2": sum(values) / 3,
        "geneval2_gm": float(np.prod(values)) ** (1 / 3),
        "geneval2_count": values[0],
        "geneval2_attribute": values[1],
        "geneval2_object": values[2],
    }
    errors = []
    for name, value in wanted.items():
        scorer = metrics.load(name, weights=folder, questions=str(questions))
        errors.append(abs(float(scorer.score(PICTURES[:1], ["two  red dogs "])[0]) / value - 1))
    print(f"geneval2: {len(wanted)} values of {len(values)} questions, largest relative difference {max(errors):.1e}")
    assert max(errors) < 1e-5
    verb = metrics.load("geneval2_verb", weights=folder, questions=str(questions))
    with pytest.raises(BadInputError, match="none of the prompt's questions is about the skill 'verb'"):
        verb.score(PICTURES[:1], ["two red dogs"])
    with pytest.raises(BadInputError, match="the prompt has no questions: only those of the prompt set geneval2 have"):
        verb.score(PICTURES[:1], ["three red dogs"])


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["last but one token", "no space in front", "no image end", "text first", "resize"])
def test_a_mistake_of_a_port_is_caught(
    mistake: str, folder: Path, by_program: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    template = json.loads((copy / "chat_template.json").read_text())["chat_template"]
    if mistake == "no image end":
        template = template.replace("<|vision_end|>", "")
    elif mistake == "text first":
        template = template.replace("in message.content %}", "in message.content | reverse %}")
    (copy / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    if mistake == "resize":
        path = copy / "preprocessor_config.json"
        path.write_text(path.read_text().replace("4096", "9216"))
    scorer = metrics.load("vqascore", weights=copy)
    if mistake == "last but one token":
        right = scorer.judge.tools.tokens
        monkeypatch.setattr(scorer.judge.tools, "tokens", lambda *what: right(*what)[:, :-1])
    elif mistake == "no space in front":
        monkeypatch.setattr(vqascore, "YES", ("Yes", "yes"))
    assert worst(found_by(scorer), by_program) > 1e-3


def test_one_judge_for_all_metrics(folder: Path, questions: Path, scorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.scoring.memory import size_of

    others = [metrics.load("geneval2", weights=folder, questions=str(questions))]
    others.append(metrics.load("unified_reward", weights=folder, most_tokens=3))
    assert all(other.judge is scorer.judge for other in others)
    assert size_of([scorer, *others]) < 1.1 * size_of([scorer])
    seen: list[int] = []
    tower = scorer.judge.model.model.visual.forward
    monkeypatch.setattr(scorer.judge.model.model.visual, "forward", lambda *a, **b: seen.append(1) or tower(*a, **b))
    fresh = Image.new("RGB", (64, 64), "red")
    others[0].score([fresh], ["two red dogs"])
    scorer.score([fresh], ["two red dogs"])
    assert seen == [1]  # four questions, one pass of the image


def test_tokens_of_an_answer_count_once(scorer: Any) -> None:
    tools = scorer.judge.tools
    encode = tools.tokenizer.encode
    assert number_spellings("seven") == ("seven", "Seven", " seven", " Seven", "7", " 7")
    assert encode(" 7")[0] == encode(" 2")[0] == encode(" ")[0]
    assert len(tools.first_tokens((" 7", " 2", "7"))) == 2
    assert tools.first_tokens(("Yes", "<|im_end|>")) == tools.first_tokens(("Yes",))
    with pytest.raises(BadInputError, match="no token for the answer"):
        tools.first_tokens(("<|im_end|>",))


def test_scores_in_words() -> None:
    said = "**Alignment Score (1-5):** 2.694700002670288\nCoherence Score (1-5): 4\nStyle Score: 3"
    assert parsed(said) == {"alignment": 2.694700002670288, "coherence": 4.0, "style": 3.0}
    for answer, words in {
        "a fine image": "states no score: 'a fine image'",
        "": "states no score: ''",
        "Style Score (1-5): 9": "score for style is 9, not within 1 to 5",
        "Style Score (1-5): 2\nStyle Score (1-5): 3": "states two scores for style: 2 and 3",
        "Style Score (1-5): X": "states no score",
    }.items():
        with pytest.raises(BadInputError, match=words):
            parsed(answer)


def test_unified_reward_reads_what_the_judge_writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = metrics.load("unified_reward", weights=folder, most_tokens=5)
    asked = []
    texts = iter(["Alignment Score (1-5): 2\nCoherence Score (1-5): 3\nStyle Score (1-5): 5", "Style Score (1-5): 4"])
    with pytest.raises(BadInputError, match="states no score"):
        scorer.score(PICTURES[:1], ["a dog"])  # random weights write nonsense
    scorer.judge._answers.clear()
    monkeypatch.setattr(scorer.judge, "_text", lambda image, question, most: asked.append(question) or next(texts))
    assert scorer.score(PICTURES[:1], ["a {dog}"]).tolist() == [pytest.approx(10 / 3)]
    assert asked[0].endswith("Your task is provided as follows:\nText Caption: [a {dog}]")
    style = metrics.load("unified_reward", weights=folder, most_tokens=5, axis="style")
    with pytest.raises(BadInputError, match="no score for alignment and coherence"):
        scorer.score(PICTURES[1:2], ["a dog"])
    assert style.score(PICTURES[1:2], ["a dog"]).tolist() == [4.0]
    scorer.judge._answers.clear()
    with pytest.raises(MetricError, match="axis 'beauty' is not one of mean"):
        metrics.load("unified_reward", weights=folder, axis="beauty")


def test_greedy_text_is_that_of_generate(folder: Path, scorer: Any) -> None:
    """Token after token by whole forward passes, without a cache."""
    judge = scorer.judge
    pixels, grid = judge.tools.prepare(PICTURES[0])
    ids = judge.tools.tokens("What is it?", int(grid.prod()) // 4)
    start = ids.shape[1]
    for _ in range(8):
        kinds = (ids == judge.tools.image_token).int()
        with torch.no_grad():
            out = judge.model(input_ids=ids, pixel_values=pixels, image_grid_thw=grid, mm_token_type_ids=kinds)
        token = out.logits[0, -1].argmax()
        if int(token) in judge.tools.ends:
            break
        ids = torch.cat([ids, token.view(1, 1)], dim=1)
    assert judge.text(PICTURES[0], "What is it?", 8) == judge.tools.tokenizer.decode(
        ids[0, start:], skip_special_tokens=True
    )


def test_the_card(scorer: Any, folder: Path, questions: Path) -> None:
    card = scorer.card.to_dict()
    assert card["published"] == "Qwen/Qwen3-VL-8B-Instruct"
    assert "checked against our reading" in card["citation"]
    assert {"config.json", "vocab.json", "chat_template.json", "preprocessor_config.json"} <= set(card["weights"])
    assert sum(name.endswith(".safetensors") for name in card["weights"]) > 1
    check_card(scorer)
    made = metrics.load("geneval2_count", weights=folder, questions=str(questions)).card.to_dict()
    assert made["settings"]["set_mean"] == "of images, not of all questions pooled"
    assert "CC-BY-NC-4.0" in made["licence"]
    half = metrics.load("vqascore", weights=folder, backbone_dtype="bfloat16")
    assert half.card.settings["backbone_dtype"] == "bfloat16"
    assert half.card.digest != scorer.card.digest
    near = half.score(PICTURES, list(PROMPTS))
    assert torch.allclose(near, scorer.score(PICTURES, list(PROMPTS)), rtol=0.2)


@pytest.mark.parametrize("name", [name for name in metrics.names() if name.startswith("geneval2")])
def test_cards_of_geneval2(name: str, folder: Path, questions: Path) -> None:
    check_card(metrics.load(name, weights=folder, questions=str(questions)))


def test_the_card_of_unified_reward(folder: Path) -> None:
    check_card(metrics.load("unified_reward", weights=folder))


def test_input_that_it_cannot_read(scorer: Any, folder: Path) -> None:
    image = Image.new("RGB", (64, 64))
    with pytest.raises(BadInputError, match=r"holds <\|image_pad\|>, a control token of the judge"):
        scorer.score([image], ["a <|image_pad|> b"])
    with pytest.raises(BadInputError, match="an image of 2010 x 10 pixels is refused"):
        scorer.score([Image.new("RGB", (2010, 10))], ["a"])
    with pytest.raises(MetricError, match="needs the prompts"):
        scorer.score([image])
    with pytest.raises(MetricError, match="chosen by the option backbone_dtype"):
        metrics.load("vqascore", weights=folder, dtype="bfloat16")
    with pytest.raises(MetricError, match="backbone_dtype 'int8' is not one of"):
        metrics.load("vqascore", weights=folder, backbone_dtype="int8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("type", "is a model of type 'qwen2_vl', and the judge here is a qwen3_vl"),
        ("template", "has no chat template"),
        ("patch", "they do not belong together"),
        ("shard", "cannot be read|keys are missing"),
    ],
)
def test_another_folder_is_refused(change: str, words: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    if change == "type":
        path = copy / "config.json"
        path.write_text(path.read_text().replace('"qwen3_vl"', '"qwen2_vl"'))
    elif change == "template":
        (copy / "chat_template.json").unlink()
    elif change == "patch":
        path = copy / "preprocessor_config.json"
        path.write_text(path.read_text().replace('"patch_size": 16', '"patch_size": 14'))
    else:
        next(copy.glob("model-00002*")).unlink()
    with pytest.raises(MissingWeightsError, match=words):
        metrics.load("vqascore", weights=copy)


def test_questions_are_read_strictly(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "q.jsonl"
    good = QUESTIONS[0]
    for change, words in (
        ({"skills": ["count"]}, "line 1: not a line of geneval2_data.jsonl"),
        ({"skills": ["count", "attribute", "taste"]}, "the skill 'taste' is not one of"),
        ({"vqa_list": [["Is it?", "No"]] * 3}, "the answer 'No' is neither Yes"),
        ({"vqa_list": [], "skills": []}, "the prompt has no questions"),
        ({"prompt": 3}, "not a line of"),
    ):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(MetricError, match=words):
            read_questions(path)
    path.write_text("\n")
    with pytest.raises(MetricError, match="has no questions"):
        read_questions(path)
    with pytest.raises(MissingWeightsError, match="geneval2 needs its questions: give the file geneval2_data.jsonl"):
        metrics.load("geneval2", weights=folder)
    with pytest.raises(MissingWeightsError, match=r"the file of questions '.*no.jsonl' does not exist"):
        metrics.load("geneval2", weights=folder, questions=str(tmp_path / "no.jsonl"))


@pytest.mark.slow
def test_the_published_network_has_the_size_that_is_said() -> None:
    """The published configuration's shapes on the meta device: no weights are made."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    text = {"vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288, "num_hidden_layers": 36}
    text |= {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "rope_parameters": rope}
    config = Qwen3VLConfig(text_config=text, vision_config={"out_hidden_size": 4096})
    with torch.device("meta"):
        state = Qwen3VLForConditionalGeneration(config).state_dict()
    assert len(state) == 750
    assert {key.split(".")[0] for key in state} == {"model", "lm_head"}
    assert {key.split(".")[1] for key in state if key.startswith("model.")} == {"visual", "language_model"}
    count = sum(tensor.numel() for tensor in state.values())
    assert count == 8_767_123_696
    assert metrics.info("vqascore").megabytes == round(2 * count / 2**20)
