"""The desk against an engine in the same process (`market`, `hall`): what it quotes, risks, and does when it sees nothing."""
