"""Texts in English and Chinese to measure a model on, from a seeded grammar."""

import random

WHO = "I,we,my sister,our accountant,the buyer,a colleague,the branch,the team,a tenant,the board".split(",")
DID = (
    "lost,returned,ordered,cancelled,paid for,asked about,reported,compared,sold,repaired,received,moved,"
    "forgot,checked,signed,opened"
).split(",")
WHAT = (
    "the card,a parcel,the invoice,two tickets,the contract,a laptop,the deposit,shares of a bank,a bicycle,"
    "the password,an insurance policy,the flat,a loan,the report,a refund,the subscription"
).split(",")
WHEN = "yesterday,last week,on Monday,in March,this morning,two years ago,before the holiday,at noon".split(
    ","
)
WHY = (
    "because the price went up,although it was late,since the address was wrong,after a long call,"
    "because nobody answered,while the shop was closed,as profits fell by {n} percent,"
    "although {n} people complained,since the fee of {n} euros was new"
).split(",")
ASK = (
    "How can {who} get {what} back?,Where is {what}?,Why was {what} charged {n} times?,"
    "Can {who} change {what} today?,Who decides about {what}?,What does {what} cost after {n} days?"
).split(",")
ZH_WHO = "我,我们,客户,公司,我朋友,银行,经理,邻居,老师,卖家".split(",")
ZH_DID = "丢了,退回了,订购了,取消了,支付了,询问了,收到了,比较了,卖掉了,修好了,签了,检查了".split(",")
ZH_WHAT = "银行卡,包裹,发票,两张车票,合同,电脑,押金,股票,自行车,密码,保险,贷款,报告,退款".split(",")
ZH_WHEN = "昨天,上周,星期一,三月份,今天早上,两年前,放假之前,中午".split(",")
ZH_WHY = (
    "因为价格上涨,虽然已经很晚,因为地址写错了,打了很久的电话以后,因为没有人回答,利润下降了百分之{n}".split(
        ","
    )
)
ZH_ASK = "怎样才能拿回{what}？,{what}在哪里？,为什么{what}被扣了{n}次？,今天可以更改{what}吗？".split(",")


def sample_texts(count: int = 600, seed: int = 0) -> list[str]:
    """Return `count` different texts, the same for a seed: questions, sentences and paragraphs of 2 to 8
    sentences, three in English to one in Chinese, short ones most."""
    rng = random.Random(seed)  # noqa: S311 - texts, not secrets
    found: dict[str, None] = {}
    while len(found) < count:
        chinese = rng.random() < 0.25
        one = _chinese if chinese else _english
        sentences = rng.choice((1, 1, 1, 1, 2, 3, 5, 8))
        found["".join(one(rng) for _ in range(sentences)) if chinese else " ".join(
            one(rng) for _ in range(sentences)
        )] = None  # fmt: skip
    return list(found)


def _english(rng: random.Random) -> str:
    if rng.random() < 0.4:
        text = rng.choice(ASK).format(who=rng.choice(WHO), what=rng.choice(WHAT), n=rng.randint(2, 90))
    else:
        why = rng.choice(WHY).format(n=rng.randint(2, 90))
        text = f"{rng.choice(WHO)} {rng.choice(DID)} {rng.choice(WHAT)} {rng.choice(WHEN)} {why}."
    return text[0].upper() + text[1:]


def _chinese(rng: random.Random) -> str:
    if rng.random() < 0.4:
        return rng.choice(ZH_ASK).format(what=rng.choice(ZH_WHAT), n=rng.randint(2, 90))
    why = rng.choice(ZH_WHY).format(n=rng.randint(2, 90))
    return f"{rng.choice(ZH_WHEN)}{rng.choice(ZH_WHO)}{rng.choice(ZH_DID)}{rng.choice(ZH_WHAT)}，{why}。"
