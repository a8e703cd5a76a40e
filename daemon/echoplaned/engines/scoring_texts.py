"""Golden texts to score, of many kinds and languages.

What a change of weights does to a text depends on the text.

Longer than the golden prompts, as each token is one measurement; what a version's context does not hold is cut off.
"""

from __future__ import annotations

from typing import Final

SCORING_TEXTS: Final = (
    "The river rises in the hills, runs past the old mill and reaches the sea after nine days.",
    "She opened the window, listened to the rain for a while and went back to her book.",
    "The committee met on Tuesday and agreed on nothing but the date of its next meeting.",
    "Water boils at one hundred degrees Celsius at sea level, and at a lower temperature on a mountain.",
    "Once upon a time there was a miller who had three sons, and to the youngest he left only the cat.",
    "The patient complained of a dry cough and a light fever that had lasted for three days.",
    "Pursuant to section four, either party may terminate this agreement with thirty days' written notice.",
    "Preheat the oven to 180 degrees, beat the eggs with the sugar, and fold in the flour a little at a time.",
    "The home team lost the final by two goals to one after extra time in front of fifty thousand people.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Dear Sir or Madam, I am writing to ask about the position that you advertised last week.",
    "To be honest, I thought the film was far too long, but the music and the last scene were wonderful.",
    "Turn left at the church, go straight on for two kilometres, and you will see the station on your right.",
    "The stock fell by four percent on Monday after the company cut its forecast for the year.",
    "If all men are mortal and Socrates is a man, then Socrates is mortal.",
    "Question: What is the capital of France? Answer: The capital of France is Paris.",
    "User: How do I boil an egg? Assistant: Put it into boiling water for seven minutes, then cool it.",
    "Translate to German: The house is small. German: Das Haus ist klein.",
    "Summary: The report finds that costs rose while quality stayed the same, and asks for a review.",
    "Roses are red, violets are blue, sugar is sweet, and so are you.",
    "In 1969 two people walked on the Moon while a third one waited in orbit.",
    "The weather tomorrow: cloudy in the morning, rain from noon, strong wind from the west.",
    "Never touch a fallen power line; keep away and call the emergency number at once.",
    "He said that she said that they had said nothing at all, which nobody believed.",
    "def add(a, b):\n    return a + b\n\nprint(add(2, 3))\n",
    "for (int i = 0; i < n; i++) {\n    sum += values[i];\n}\nreturn sum;\n",
    "SELECT name, COUNT(*) FROM orders WHERE year = 2024 GROUP BY name ORDER BY 2 DESC;",
    '{"name": "Ada", "age": 36, "tags": ["math", "engine"], "active": true}',
    '<html><body><h1>Title</h1><p class="lead">Hello</p></body></html>',
    '#!/bin/sh\nset -e\nfor f in *.txt; do\n  wc -l "$f"\ndone\n',
    'fn main() {\n    let x: Vec<u32> = (0..10).collect();\n    println!("{:?}", x);\n}\n',
    "class Node:\n    def __init__(self, value, next=None):\n        self.value = value\n        self.next = next\n",
    "import numpy as np\nx = np.zeros((3, 4), dtype=np.float32)\nassert x.shape == (3, 4)\n",
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nZeroDivisionError: division by zero\n',
    "2 + 2 = 4, 3 * 7 = 21, 100 - 58 = 42, 81 / 9 = 9, 2 ** 10 = 1024",
    "1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144",
    "January 31, February 28, March 31, April 30, May 31, June 30",
    "The area of a circle of radius r is pi * r ** 2; for r = 3 it is about 28.27.",
    "Invoice 2024-117: 3 x 19.90 + 2 x 4.50 = 68.70; VAT 19 %: 13.05; total 81.75",
    "10:30 12:45 18:05 23:59 00:00 06:15",
    "| item | price |\n| --- | --- |\n| tea | 2.40 |\n| bread | 3.10 |\n",
    "Guten Morgen, wie geht es Ihnen heute? Mir geht es gut, danke, und Ihnen?",
    "Le chat dort sur le canapé pendant que la pluie tombe sur les toits de la ville.",
    "La semana que viene vamos a visitar a mis abuelos, que viven en un pueblo cerca del mar.",
    "Domani mattina andiamo al mercato a comprare pane, formaggio e un po' di frutta.",
    "O livro que comprei ontem conta a história de uma família do norte do país.",
    "De trein naar het noorden vertrekt om zeven uur van spoor vier.",
    "Wczoraj wieczorem padał śnieg, a dziś rano całe miasto było białe.",
    "Сегодня хорошая погода, и мы идём гулять в парк у реки.",  # noqa: RUF001 - another script, meant
    "今日は天気がいいので、公園まで歩いて行きましょう。",
    "今天天气很好，我们一起去公园散步吧。",  # noqa: RUF001 - another script, meant
    "오늘은 날씨가 좋아서 공원에 산책하러 갑니다.",
    "الطقس جميل اليوم، فلنذهب إلى الحديقة.",
    "आज मौसम अच्छा है, चलो पार्क में टहलने चलते हैं।",
    "Καλημέρα, πώς είστε σήμερα; Ο καιρός είναι πολύ καλός.",  # noqa: RUF001 - another script, meant
    "Bugün hava çok güzel, parka yürüyüşe gidelim mi?",
)
