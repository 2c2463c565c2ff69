from jaxcv.data import imagenet


def test_the_classes_are_a_thousand_in_the_order_of_published_networks():
    names = imagenet.class_names()
    assert len(names) == len(set(names)) == 1000
    known = {
        0: "tench",
        134: "crane bird",
        207: "golden retriever",
        517: "crane",
        999: "toilet tissue",
    }
    assert {index: names[index] for index in known} == known
