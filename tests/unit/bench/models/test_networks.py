"""Adapters are switched without touching what trains, and networks leave the device when there is no room."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig
from torch import nn

from bench.models.base import Network
from bench.models.loading import quiet
from bench.models.networks import HEADROOM, AdapterSwitch, Networks, Residence, size_of
from tests.unit.bench.models.families import tiny_network


class SmallDevice(Residence):
    """A device with room for `capacity` bytes of networks, where moving is written down."""

    def __init__(self, capacity: float) -> None:
        super().__init__(torch.device("cpu"))
        self.capacity = capacity

    def room(self) -> int:
        return int(self.capacity - sum(size_of(module) for module in self._here))


class Counted(nn.Linear):
    def __init__(self) -> None:
        super().__init__(9, 10)  # 400 bytes
        self.moves: list[str] = []

    def to(self, *arguments: Any, **options: Any) -> Any:
        self.moves.append(str(arguments[0]))
        return super().to(*arguments, **options)


def test_networks_stay_if_they_fit_and_are_moved_at_the_switch_if_not(said: list[str]) -> None:
    first, second = Counted(), Counted()
    assert size_of(first) == 400
    roomy = SmallDevice(400 + 400 * HEADROOM)
    for module in (first, second, first, second):
        roomy.bring(module)
    assert (first.moves, second.moves, said) == (["cpu"], ["cpu"], [])
    assert roomy.make_room()
    assert not roomy.make_room()  # the one in use stays
    said.clear()
    first, second = Counted(), Counted()
    tight = SmallDevice(400 * HEADROOM)
    for module in (first, second, second, first):
        tight.bring(module)
    assert len(first.moves) == 3  # in, out for the second, in again
    assert len(second.moves) == 2
    assert len([line for line in said if "moving them at each switch" in line]) == 1


def test_the_one_used_longest_ago_leaves_first(said: list[str]) -> None:
    modules = [Counted() for _ in range(3)]
    device = SmallDevice(400 + 400 * HEADROOM)
    for index in (0, 1, 0, 2):
        device.bring(modules[index])
    assert [len(module.moves) for module in modules] == [1, 2, 1]


def test_switching_leaves_gradients_as_they_were() -> None:
    network = tiny_network("sd").requires_grad_(False)
    with quiet():
        for name in ("a", "b"):
            network.add_adapter(LoraConfig(r=2, target_modules=["to_q"]), name)
    wanted = {name: "lora_" in name and ".a." in name for name, _ in network.named_parameters()}
    for name, value in network.named_parameters():
        value.requires_grad_(wanted[name])
    switch = AdapterSwitch(network)
    for adapter in ("a", None, "b", "a", None):
        switch.to(adapter)
        assert {name: value.requires_grad for name, value in network.named_parameters()} == wanted


def test_a_network_that_was_added_by_hand_is_switched_too() -> None:
    """Training adds its adapter to the model's networks itself."""
    network = tiny_network("sd")
    cond = torch.ones(1, 3, 16)
    latents = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)

    def run(module: Any) -> torch.Tensor:
        with torch.no_grad():
            output: torch.Tensor = module(latents, torch.tensor(5), encoder_hidden_states=cond).sample
        return output

    networks = {"base": Network(network)}
    ready = Networks(network, torch.device("cpu"), networks)
    before = run(ready.ready("base"))
    network.add_adapter(LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False), "mine")
    networks["tuned"] = Network(network, "mine")
    after = run(ready.ready("tuned"))
    assert not torch.equal(before, after)
    assert torch.equal(run(ready.ready("base")), before)
    assert torch.equal(run(ready.ready("tuned")), after)
