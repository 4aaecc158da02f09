"""What the invented news is made of: clauses by topic, feeling and side, written by hand for this project.

Training rows are made of "train" clauses only, held-out rows of both: a third of their clauses
was never seen in training. Many clauses say good things with bad words and the other way round, as
headlines do.
"""

from typing import TypeAlias

Clauses: TypeAlias = dict[str, dict[str, list[str]]]

TOPICS: dict[str, Clauses] = {}


def _topic(name: str, **feelings: tuple[str, str]) -> None:
    TOPICS[name] = {
        feeling: {"train": _lines(train), "held": _lines(held)} for feeling, (train, held) in feelings.items()
    }


def _lines(block: str) -> list[str]:
    return [line.strip() for line in block.strip().splitlines()]


_topic(
    "credit risk",
    negative=(
        """
        {c} misses an interest payment on its {n} million bond
        Rating agency cuts {c} to junk
        {c} breaches the covenants of its main loan
        Lenders refuse to roll over {c}'s debt
        {c} burns cash faster than it can borrow
        {c} fails to win creditors over to its rescue plan
        Bonds of {c} sink on doubts that it can repay
        Outlook on {c}'s debt is lowered as liquidity dries up
        {c} taps its last credit line
        Banks raise provisions for loans to {c}
        """,
        """
        {c} hires restructuring advisers as {n} million falls due
        Bondholders of {c} brace for a haircut
        {c} is short of cash to meet its June maturities
        Credit insurers pull cover for suppliers of {c}
        Another downgrade leaves {c} two steps above default
        """,
    ),
    neutral=(
        """
        {c} will meet bondholders in {k} next week
        {c} lists a {n} million note in {k}
        Agency to review the rating of {c} in {m}
        {c} publishes the terms of its new credit line
        Loan of {c} changes hands between two banks
        {c} names a new agent for its bonds
        {c} sets a date for the vote of its creditors
        {c} converts a bridge loan into a term loan as planned
        """,
        """
        {c} files a prospectus for a {n} million bond
        Rating of {c} is affirmed, the outlook stays where it was
        {c} begins a round of talks with its lenders
        Coupon of {c}'s floating note is reset
        """,
    ),
    positive=(
        """
        {c} repays its {n} million bond a year early
        Rating agency lifts {c} out of junk
        {c} avoids a default as lenders extend the loan
        {c} cuts its debt by a third
        Demand for {c}'s bond is three times the offer
        Fears of a default at {c} fade after it refinances
        {c} wins a cheaper credit line
        No covenant is at risk any more, {c} tells creditors
        Outlook on {c}'s debt is raised to stable
        """,
        """
        {c} is upgraded two steps as losses end
        Creditors of {c} will be paid in full
        {c} escapes insolvency with fresh money from its owners
        Borrowing costs of {c} drop to a five-year low
        """,
    ),
)

_topic(
    "cyber incident",
    negative=(
        """
        Hackers steal records of {n},000 customers of {c}
        {c} shuts its systems after a ransomware attack
        Outage at {c} leaves shops without card payments
        {c} admits that the breach was larger than it had said
        Attackers publish files taken from {c}
        {c} can't say when its network will be back
        Phishing wave empties accounts at {c}
        Passwords of {c}'s staff are sold online
        Second break-in within a month hits {c}
        Malware stops the booking system of {c}
        """,
        """
        Clients of {c} locked out for a third day by an intrusion
        Data of patients leak from a server of {c}
        {c} pays a ransom and still gets no key
        Bank cuts its link to {c} as the compromise spreads
        Customers rage as {c}'s app stays down after the hack
        Card numbers taken from {c} turn up on the dark web
        """,
    ),
    neutral=(
        """
        {c} runs a drill for an attack on its systems
        {c} moves its security centre to {k}
        {c} appoints a firm to test its network every quarter
        {c} updates the way its customers sign in
        Regulators publish a guide to reporting a breach
        {c} to join a scheme for sharing data on malware
        {c} plans maintenance that takes its site down on Sunday night
        Panel in {k} will discuss ransomware
        """,
        """
        {c} changes its rules for passwords
        Yearly audit of {c}'s systems starts in {m}
        {c} sends staff to a course on phishing
        {c} files its yearly statement on information security
        """,
    ),
    positive=(
        """
        {c} stops a ransomware attack before any harm is done
        No customer data were lost in the breach, {c} confirms
        {c} is back online hours after the outage
        Police arrest the hackers who broke into {c}
        {c} earns the top mark in a security test
        Stolen files of {c} are recovered unread
        Attack on {c} fails thanks to a new defence
        {c} blocks a record number of phishing mails
        """,
        """
        Intruders left {c} empty-handed, inquiry finds
        {c} restores every account after the hack, none is missing
        Insurer praises {c} for its quick answer to the intrusion
        Security of {c} is now the best of its trade
        """,
    ),
)

_topic(
    "litigation",
    negative=(
        """
        Court orders {c} to pay {n} million in damages
        Shareholders sue {c} over hidden losses
        {c} loses its appeal in the patent case
        Judge lets the class action against {c} go ahead
        Jury finds {c} liable for the fire
        {c} faces a lawsuit from {n} former workers
        Ruling bars {c} from selling its best product
        {c} fails to have the case thrown out
        Legal costs eat up the profit of {c}
        """,
        """
        {c} is convicted of fraud in {k}
        Tribunal rejects {c}'s last defence
        Verdict could cost {c} {n} million
        Former partner drags {c} to court over unpaid fees
        {c} must stop deliveries, a judge decides
        """,
    ),
    neutral=(
        """
        Trial of {d} against {c} is set for {m}
        {c} and {d} meet before a mediator
        Court in {k} to hear both sides of {c}'s dispute
        {c} asks to move its case to {k}
        Judge takes over the file of {c} from a colleague
        Hearing in the lawsuit between {c} and {d} is put off to {m}
        {c} files its reply to the complaint
        Lawyers of {c} present their list of witnesses
        """,
        """
        Court will rule on {c}'s motion in {m}
        {c} and {d} exchange documents in their dispute
        Arbitration between {c} and {d} opens in {k}
        {c} retains new counsel for the proceedings
        """,
    ),
    positive=(
        """
        Court clears {c} of all charges
        {c} wins {n} million from {d} in the patent case
        Judge throws out the class action against {c}
        {c} settles the lawsuit for less than feared
        Plaintiffs drop their claims against {c}
        Appeal court overturns the fine of {c}
        Jury sides with {c} in the dispute over fees
        {c} ends years of litigation without paying a cent
        """,
        """
        {c} is found not guilty in {k}
        Damages against {c} are cut to a token sum
        Tribunal backs {c} on every point
        Court victory frees {c} to sell its product again
        """,
    ),
)

_topic(
    "regulation",
    negative=(
        """
        {r} fines {c} {n} million for misleading clients
        {r} opens a probe into {c}
        {c} loses its licence in {k}
        Antitrust watchdog blocks {c}'s price plan
        {r} raids offices of {c}
        New rules will cost {c} a tenth of its revenue
        {c} did not report the fault in time, {r} says
        {r} bans an advert of {c}
        {c} is put under special supervision
        """,
        """
        {r} threatens {c} with a daily penalty
        Inspectors find grave gaps at {c}
        Permit of {c} is suspended in {k}
        {c} gave false figures to {r}
        Watchdog orders {c} to refund customers
        """,
    ),
    neutral=(
        """
        {r} asks for comments on draft rules for {c}'s trade
        {c} sends its yearly report to {r}
        {r} will visit plants in {k}, {c}'s among them
        Deadline for new licences is {m}, {r} says
        {c} applies for a permit in {k}
        {r} names the firms that it will look at this year
        {c} moves its compliance office to {k}
        {r} and {c} agree on a timetable
        """,
        """
        Consultation on fees closes in {m}, {r} reminds {c}
        {c} registers its new fund with {r}
        {r} publishes the minutes of its meeting with {c}
        {c} takes part in a hearing on draft law in {k}
        """,
    ),
    positive=(
        """
        {r} ends its probe into {c} without a fine
        {c} gets the licence it had waited for in {k}
        {r} approves {c}'s new product
        {r} finds no fault with {c}
        Rules are eased, and {c} will save {n} million
        {r} lifts its ban on {c}
        Antitrust watchdog clears {c} without conditions
        {c} passes the stress test of {r} with room to spare
        """,
        """
        {c} is released from special supervision
        {r} drops all charges against {c}
        Permit for {c}'s plant in {k} comes sooner than hoped
        Inspectors praise {c}
        """,
    ),
)

_topic(
    "supply chain",
    negative=(
        """
        {c} halts its plant in {k} for lack of parts
        Strike at the port of {k} holds up {c}'s goods
        Fire at a supplier leaves {c} without chips
        {c} can't fill its orders before {m}
        Shortage of steel forces {c} to cut shifts
        Freight costs eat into {c}'s margin
        {c}'s stocks run out as shipments stay at sea
        Key supplier of {c} stops deliveries
        {c} recalls {n},000 units over a faulty part
        """,
        """
        Flood at {k} cuts {c} off from its main supplier
        Waiting times at {c} double as containers pile up
        {c} sends workers home because components are missing
        Spoiled cargo costs {c} {n} million
        {c} warns shops of empty shelves
        """,
    ),
    neutral=(
        """
        {c} moves its warehouse from {k} to {j}
        {c} adds a second supplier of glass
        {c} will ship through the port of {k} from {m}
        {c} signs a contract with a haulier in {k}
        {c} takes stock of its parts this week
        {c} and {d} share a depot near {k}
        {c} switches its trucks to another route
        Plant of {c} in {k} closes for the yearly service
        """,
        """
        {c} reviews its list of suppliers
        {c} rents a hall at the port of {k}
        Delivery windows at {c} change in {m}
        {c} tests a new packing line in {k}
        """,
    ),
    positive=(
        """
        Shortage at {c} is over, the plant runs at full speed
        {c} delivers a month ahead of plan
        Port of {k} reopens and {c}'s goods move again
        {c} finds a cheaper source of parts
        {c} secures chips for two years
        Freight costs of {c} fall by a third
        Strike that hit {c} ends after one day
        {c} cuts its waiting list to nothing
        """,
        """
        Shelves of {c} are full again
        {c} gets through the blockade at {k} without a single late order
        New depot halves the delivery time of {c}
        Components flow again and {c} calls workers back
        """,
    ),
)

_topic(
    "management change",
    negative=(
        """
        Chief executive of {c} quits without notice
        {c} dismisses its finance chief over the accounts
        Third director leaves {c} within a month
        {c}'s chairman steps down in a row over pay
        Investors demand the head of {c}'s chief executive
        {c} finds no successor for its boss
        Board of {c} is split over strategy
        Top engineers follow {x} out of {c}
        {c} is left without a finance chief before its results
        """,
        """
        Scandal topples {c}'s boss {x}
        {x} abandons {c} days after taking over
        Power struggle paralyses the board of {c}
        Head of research walks out of {c} in anger
        """,
    ),
    neutral=(
        """
        {c} names {x} as finance chief from {m}
        {x} will chair the board of {c} from {m}
        {c} proposes {x} as a director
        Chief executive of {c} retires in {m} as planned
        {c} splits the posts of chairman and chief executive
        {x} moves from {d} to {c}
        {c} begins the search for a new chairman
        Board of {c} to meet in {k}
        """,
        """
        {x} takes charge of {c}'s unit in {k}
        {c} extends the contract of {x}
        {x} swaps posts with a colleague at {c}
        Shareholders of {c} will vote on two board seats in {m}
        """,
    ),
    positive=(
        """
        Shares of {c} jump as {x} takes over
        {c} wins {x}, the best known name of the trade, as boss
        Investors cheer the new board of {c}
        {x} stays at {c} after all, to the relief of staff
        {c}'s new chief executive turns the mood around
        Row in {c}'s board is settled, the chairman stays
        Analysts praise {c}'s choice of {x}
        {c} ends a long search with a strong finance chief
        """,
        """
        Market welcomes {x} at the head of {c}
        {c} keeps its team together despite offers from {d}
        Respected banker {x} joins {c}, and the stock gains {p} percent
        Calm returns to {c} under {x}
        """,
    ),
)

_topic(
    "earnings",
    negative=(
        """
        {c} issues a second profit warning
        Sales of {c} fall by {p} percent in the {q} quarter
        {c} slips into the red
        {c} misses forecasts by a wide margin
        {c} cuts its outlook for the year
        Margins of {c} shrink for the fifth time in a row
        {c} scraps its dividend
        {c}'s net loss widens to {n} million
        Growth at {c} is not enough to meet its targets
        Profit of {c} rises far less than hoped
        """,
        """
        {c} writes off {n} million and shares tumble
        Weak {q} quarter wipes out the gains of {c}
        {c} takes back its guidance
        Turnover of {c} shrinks as buyers stay away
        {c} will not earn anything this year
        """,
    ),
    neutral=(
        """
        {c} reports results for the {q} quarter on Thursday
        Revenue of {c} is flat at {n} million
        {c} keeps its outlook for the year
        {c} changes the way it reports its segments
        Dividend of {c} stays at last year's level
        {c} to hold its investor day in {k}
        {c}'s profit comes in as expected
        {c} closes its books a week later than last year
        """,
        """
        {c} confirms its guidance
        Earnings of {c} match the consensus
        {c} moves its reporting date to {m}
        {q} quarter sales at {c} little changed
        """,
    ),
    positive=(
        """
        {c} raises its outlook after a strong {q} quarter
        Profit of {c} falls much less than feared
        {c} beats forecasts and lifts the dividend
        Sales of {c} rise by {p} percent
        {c} is back in the black after two years of losses
        {c}'s margins reach a record
        Loss at {c} shrinks to almost nothing
        {c} has its best {q} quarter ever
        """,
        """
        {c} earns more than anyone had predicted
        {c} doubles its payout to shareholders
        Worst is behind {c}, the {q} quarter figures show
        Surprise surplus at {c} sends its shares {p} percent higher
        """,
    ),
)

_topic(
    "mergers",
    negative=(
        """
        {c} calls off its merger with {d}
        {c} overpays for {d}, shareholders say
        Takeover of {c} collapses at the last minute
        {c} is forced to sell its best unit
        Hostile bid for {c} splits its owners
        {d} walks away from talks to buy {c}
        {c} writes down its purchase of {d}
        Shares of {c} drop on its costly offer for {d}
        """,
        """
        {c} pays a break-up fee as the tie-up with {d} falls apart
        Buyer of {c} lowers its offer by {p} percent
        {c} finds nobody who wants its ailing unit
        Synergies that {c} had promised from {d} fail to appear
        """,
    ),
    neutral=(
        """
        {c} holds talks on a merger with {d}
        {c} sells a stake of {p} percent in {d}
        {c} raises its holding in {d} to {p} percent
        Owners of {c} will vote on the bid in {m}
        {c} hires a bank to look at offers for its unit in {k}
        {d} has until {m} to make a bid for {c}
        {c} and {d} extend their talks
        {c} completes the transfer of its unit to {d}
        """,
        """
        {c} confirms that it was approached by {d}
        Spin-off of {c}'s unit in {k} is due in {m}
        {c} discloses a small holding in {d}
        {c} and {d} sign a letter of intent
        """,
    ),
    positive=(
        """
        {d} offers a third more than the market price for {c}
        {c} buys {d} at a bargain price
        Merger of {c} and {d} will save {n} million a year
        Owners of {c} welcome the bid of {d}
        {c} sells its loss-making unit for more than hoped
        Shares of {c} soar on a takeover by {d}
        {c} wins the race for {d}
        Deal with {d} makes {c} the leader of its market
        {c} and {d} join forces and both gain
        """,
        """
        {d} sweetens its offer for {c}, whose stock leaps {p} percent
        {c} lands {d} without raising its price
        Purchase of {d} pays off for {c} within a year
        Tie-up with {d} opens new markets for {c}
        """,
    ),
)

_topic(
    "",
    negative=(
        """
        {c} closes its shop in {k} after forty years
        Customers of {c} complain of long queues
        Storm damages the head office of {c}
        {c} cuts {n} jobs in {k}
        """,
        """
        Tests give {c}'s new product poor marks
        {c} gives up its plans for {k}
        """,
    ),
    neutral=(
        """
        {c} opens an office in {k}
        {c} shows its new product at the fair in {k}
        {c} changes its logo
        {c} sponsors a chess tournament in {k}
        {c} celebrates its anniversary
        {c} moves into a new building
        """,
        """
        {c} starts a newsletter
        {c} invites schools to its site in {k}
        {c} renames its unit in {k}
        """,
    ),
    positive=(
        """
        {c} hires {n} people in {k}
        Tests give {c}'s new product top marks
        {c} wins a design prize
        Customers rate {c} as the best of its trade
        """,
        """
        {c} is voted the most popular employer of {k}
        Visitors flock to {c}'s new hall in {k}
        """,
    ),
)

# What joins a main clause, which decides the feeling, with another of the opposite one.
JOINED = {
    "train": [
        "{main} even though {other}",
        "Although {other}, {main}",
        "{main} despite news that {other}",
        "{other}, but {main}",
        "While {other}, {main}",
    ],
    "held": [
        "{main} although {other}",
        "Even though {other}, {main}",
        "{main}, while {other}",
        "{other}; however, {main}",
    ],
}
# What a rumour, a denial or a doubt makes of a clause: (frame, feeling of a negative one, of a positive one).
FRAMES = {
    "train": [
        ("{c} denies reports that {clause}", "neutral", "neutral"),
        ("Analysts no longer fear that {clause}", "positive", None),
        ("Hopes that {clause} come to nothing", None, "negative"),
        ("It is not true that {clause}, {c} says", "neutral", "neutral"),
    ],
    "held": [
        ("{c} rejects a report that {clause}", "neutral", "neutral"),
        ("Nobody fears any longer that {clause}", "positive", None),
        ("Hope fades that {clause}", None, "negative"),
    ],
}
BEFORE = ["", "", "", "", "", "Update: ", "Exclusive: ", "{k}: ", "Report: ", "Wrap-up: "]
AFTER = [
    "",
    "",
    "",
    "",
    "",
    ", sources say",
    ", {x} says",
    " - paper",
    ", filing shows",
    " in {k}",
    ", company says",
    " this week",
    ", traders say",
    " on Tuesday",
    " - {s}",
]
BODIES = [
    "The company, based in {k}, did not comment.",
    "{x}, who covers the trade, had looked for this since {m}.",
    "{d} and two others are in the same market.",
    "A call for analysts is set for the afternoon.",
    "Details were given in a note to the exchange in {k}.",
    "It employs {n},000 people in {k} and {j}.",
    "The stock is part of the index of mid-sized firms.",
    "{x} spoke on the edge of a meeting in {k}.",
]
COMPANIES = """
Veltro Marlin_Freight Corvana_Pay Oskary_Foods Brelia_Bank Tandem_Glass Nuvora Hallstrom_Steel
Pinnock_Retail Arvello_Energy Quillon Sorbet_Airlines Ketterby_Motors Lumeo_Health Dravik_Chemicals
Fennick_Insurance Ostara_Media Brightwell_Homes Calder_Ports Zephrine Morrow_Telecom Elvane_Pharma
Galloway_Paper Ridgeport_Mining Tessaly_Software Undine_Water Wexcombe_Leasing Yarrow_Textiles
Ambrel_Foods Northvale_Rail Pellucid_Optics Grenadine_Hotels
""".split()
HELD_COMPANIES = """
Orrin_Cables Vantley Sable_Harbour Juniper_Dairy Maravel_Toys Stellgate_Bank Tolland_Cement Irisco
Palmyre_Lines Fairlock_Security Aldine_Tools Bexley_Wind Carrow_Seeds Dunmore_Lifts Eastmark_Trust
""".split()
PEOPLE = """
Adebayo Brandt Castellano Dimitrov Eriksen Farouk Guerin Hoshino Ibarra Jansen Kowalska Lindqvist
Marchetti Nakamura Oyelaran Petrov Quintero Rahman Sorensen Takeda Ulrich Vasquez Weber Yilmaz
Zeller
""".split()
PLACES = """
Portmere Valdane Estrel Norhaven Cassino_Bay Lindmark Ovrebo Tarsk Belmora Quay_City Sunderholt
Maravia Ostley Kirrin
""".split()
REGULATORS = [
    "the markets authority",
    "the data office",
    "the central bank",
    "the competition board",
    "the safety agency",
    "the energy regulator",
]
MONTHS = ["April", "May", "June", "July", "September", "October", "November"]
QUARTERS = ["first", "second", "third", "fourth"]
SOURCES = {
    "Meridian Wire": 0.34, "The Daily Ledger": 0.22, "Harbour Post": 0.16, "Fintel Brief": 0.14,
    "Valdane Gazette": 0.08, "Open Markets Blog": 0.06,
}  # fmt: skip
