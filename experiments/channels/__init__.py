"""What each channel and campaign brings, in one unit, from customers withheld from it; beside what matching claims."""

from experiments.channels.channels import channels
from experiments.channels.matchback import matchback
from experiments.channels.results import ChannelEffect, Channels, Pair

__all__ = ["ChannelEffect", "Channels", "Pair", "channels", "matchback"]
