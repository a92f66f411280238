//! The words that all categories share: makers, towns, and what people say.

pub(super) const ADJECTIVES: [&str; 24] = [
    "Quiet", "Folding", "Classic", "Northern", "Little", "Grand", "Everyday", "Round", "Slim",
    "Harbour", "Morning", "Evening", "Honest", "Sturdy", "Light", "Low", "Tall", "Plain", "Garden",
    "Studio", "Travel", "Winter", "Island", "Corner",
];

pub(super) const MAKERS: [&str; 20] = [
    "Holm & Daughter",
    "Fjellverk",
    "Atelier Noor",
    "Tanaka Works",
    "Bramble",
    "Casa Duarte",
    "Ostsee Manufaktur",
    "Three Herons",
    "Kestrel",
    "Lindqvist",
    "Old Mill",
    "Officina Rossi",
    "Saltmarsh",
    "Véla",
    "Wren & Thorn",
    "Zimmer 9",
    "Aalto Brothers",
    "Pine Street",
    "Moreau",
    "Kupka",
];

pub(super) const TOWNS: [&str; 16] = [
    "Aarhus",
    "Bergen",
    "Bologna",
    "Brno",
    "Cork",
    "Ghent",
    "Graz",
    "Kanazawa",
    "Leipzig",
    "Lyon",
    "Porto",
    "Riga",
    "Sheffield",
    "Tartu",
    "Utrecht",
    "Vigo",
];

pub(super) const CARE: [&str; 6] = [
    "Wipe it with a dry cloth, and it outlives its owner.",
    "Spare parts are kept for thirty years.",
    "It comes unfinished; oil it once a year.",
    "A small repair kit lies in the box.",
    "If it breaks, send it back and it returns mended.",
    "It ages well, which is the point.",
];

pub(super) const AUTHORS: [&str; 32] = [
    "Ada", "Amir", "Anneke", "Béla", "Carmen", "Chidi", "Dalia", "Edgar", "Elif", "Fatou", "Goran",
    "Hana", "Ines", "Jonas", "Kaito", "Lena", "Luca", "Maeve", "Mateo", "Nadia", "Olga", "Pavel",
    "Quentin", "Rosa", "Sami", "Thandi", "Ugo", "Vera", "Wim", "Ximena", "Yusuf", "Zofia",
];

/// First and second sentences of reviews: of the unhappy, the undecided, the happy.
pub(super) const OPINIONS: [([&str; 5], [&str; 5]); 3] = [
    (
        [
            "It arrived with a scratch.",
            "I expected more for the money.",
            "Mine wobbles.",
            "The pictures are kinder than the thing.",
            "It did not survive the first month.",
        ],
        [
            "Returning it was easy, at least.",
            "I wrote to them and am still waiting.",
            "My old one was better.",
            "Perhaps I was unlucky.",
            "I would not buy it again.",
        ],
    ),
    (
        [
            "It does what it should.",
            "Good, not great.",
            "Smaller than I thought.",
            "Nice to look at.",
            "Fine for the price.",
        ],
        [
            "I use it about once a week.",
            "The finish could be better.",
            "It took a while to like it.",
            "My neighbour has the same and is happier.",
            "We shall see how it ages.",
        ],
    ),
    (
        [
            "I use it every day.",
            "Better than I hoped.",
            "Beautifully made.",
            "Bought one, then a second.",
            "You feel the care in it.",
        ],
        [
            "My daughter has already claimed it.",
            "It will be here when I am not.",
            "Worth waiting for.",
            "Visitors ask where it is from.",
            "I cannot find a fault, and I tried.",
        ],
    ),
];
