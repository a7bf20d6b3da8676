"""The prompts of the fixture: short, empty, past every token limit, non-Latin, entities, literal special tokens."""

from __future__ import annotations

_LONG = "a very detailed oil painting of an old harbour at dawn, with many small boats, nets and gulls, "

PROMPTS: tuple[str, ...] = (
    "a red circle",
    "a photo of a cat",
    "An astronaut riding a horse on Mars, digital art, trending",
    "",
    " ",
    "two dogs, three birds & one fish; 1234567890 - (50%)",
    _LONG * 2,
    _LONG * 9,
    "word " * 100,
    "красный круг на синем фоне",
    "一只红色的猫坐在椅子上",
    "دائرة حمراء على خلفية زرقاء",
    "नीली पृष्ठभूमि पर लाल वृत्त",
    "naïve café façade, Ünïcödé, œuvre, ﬁne ½",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2603",
    "salt &amp; pepper, 3 &lt; 5, &quot;quoted&quot; &#8364;",
    "mojibake cafÃ© â€œquotesâ€\x9d",
    "<|endoftext|> after the end",
    "before<|endoftext|>after <|startoftext|>",
    "<end_of_text> a cat <start_of_text>",
    "[SEP] a cat [CLS] [PAD] [MASK] [UNK]",
    "[DEC]we'll [ENC] see, [SEP]we'll",
    "tabs\tand\nnewlines\r\n  and   spaces\u00a0\u3000wide",
    "CamelCase UPPERCASE lower_case hyphen-ated it's don't we'll I'd",
    "!?#$%^*()_+{}|:\"<>~`[]\\;',./=",
    "zero\u200bwidth joiner\u200d and soft\u00adhyphen \ufeffmark",
    "supercalifragilisticexpialidocious" * 4,
    "a cat" + " very" * 80 + " big <|endoftext|>",
)
