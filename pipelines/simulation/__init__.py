"""The synthetic market used by the demo, the tests and what-if questions.

``simulate(World(...))`` gives a :class:`Market` in memory, ``write`` puts it into files. The tables have the
columns a platform's export would have; what no platform knows stands in a table of its own, the oracle
(:mod:`pipelines.simulation.oracle`). Equal parameters and seed give equal bytes.

The world is a plausible one, not a measured one. Where its numbers come from:

Sources, all orders of magnitude
    * Card types, face values, forms, validity, legal maximum and band of rates: the project's catalogue,
      whose rows name their sources. A fresh virtual card resells a tenth of the band below the band's top.
    * Platforms: a small one buys at 85 % of face value, a medium one has a rate per card type, a head one
      follows the market live. Competitors stay 5–8 points below resale, which puts their bids inside the
      ranges that Chinese recyclers claim.
    * A larger face value earns a slightly better rate (a published ladder price list of 2020: the lowest step
      is a median 5.5 % below the highest, over a hundredfold range of face values).
    * Physical cards cost 6 % of face value for shipping and unpacking (sources: 5–10 %).
    * Expired cards are bought at 1–5 % of face and are worth 1–8 % net, as the chance that the issuer
      re-activates.
    * Spring Festival and Mid-Autumn by the lunar calendar (the ``holidays`` library); sales of 18 June, 11
      November.

Assumptions of the author, without a public source
    * Size and persistence of price movements, noise and delay of quotes (:mod:`prices`), volumes and
      popularity of categories (:mod:`kinds`), the effect of seasons and hours (:mod:`seasons`).
    * How sellers decide (:mod:`sellers`): the least rate a seller takes is logistic around a mixture of the
      best competitor's bid and what such cards usually bring, lower for small, soon expiring and physical
      cards, at night and at the end of the month. Loyalty (stays with the seller) and urgency (of the day)
      are hidden: they decide where in that distribution a seller stands. So acceptance given card, market and
      moment is known exactly, and with it the best price of a card.
    * Who the sellers are (:mod:`people`): two of three come once, a few dealers hundreds of times; families
      share devices and accounts, offices and mobile carriers addresses, employees one batch of cards.
    * Fraud (:mod:`fraudsters`, :mod:`repeats`): 2 % of the cards, of which 45 % in rings with stolen batches,
      20 % through rented accounts, 15 % redeemed before, 20 % that look like anybody. A third of the rings
      keep their entities apart, a third of their members use old accounts, and honest sellers offer a
      declined card again: no single sign is proof. Fraudsters take 97 % of all offers, prefer liquid types,
      larger faces, virtual cards and the night.
    * Screening by rules (:mod:`history`), of which a random 5 % pass nevertheless, and the log says which: those
      turned away have neither offer nor label. Fraud becomes known 1–20 days after the purchase, from an analyst in
      the first four days, by chargeback later; honesty after 21–30, for want of a complaint. What lies beyond the
      end of the log is not known.

Other shapes, for a model must not be good at one kind of market only (:mod:`worlds` names those that judge)
    * ``acceptance``: the least rates of a card's sellers are ``logistic``; or ``skewed``, with a long tail of
      sellers content with much less and few who want more; or ``mixed``: sellers who compare stand close
      around the best competitor, hurried ones lower and wider, their share differs by category and face value
      (:mod:`acceptance` has the formulas, and the oracle's table the numbers of each card).
    * ``confounded``: a trader adds a couple of points by what he sees of the seller's temperament and of the
      market level that the bids do not show yet. The log has nothing of it but the offer. ``offer_density`` is
      that of the random move around the offer he had in mind, and missing where there is no such move.
    * ``shock_day``: from that day on resale falls by 3 to 5 points within two days and recovers over months,
      competitors widen their margins for good, and sellers agree more with each other and want more than
      before, compared with what competitors pay.
    * ``jitter_half_width``, ``jitter``: how far the log's offers were moved at random, if at all.

Left out on purpose: sellers do not answer to earlier prices or service by coming more or less often,
competitors do not answer to the platform, fraudsters do not learn what the screening stops, and nobody
haggles.
"""

from pipelines.simulation.market import Market, OccupiedFolder, simulate, write
from pipelines.simulation.world import World, WorldError

__all__ = ["Market", "OccupiedFolder", "World", "WorldError", "simulate", "write"]
