package network

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"polder.dev/polder/system/layout"
)

// applyTable replaces the cloud's table in one transaction.
func applyTable(ctx context.Context, c layout.Cloud) error {
	return nft(ctx, Rules(c))
}

func removeTable(ctx context.Context, c layout.Cloud) error {
	return nft(ctx, fmt.Sprintf("table inet %s\ndelete table inet %s\n", c.Table(), c.Table()))
}

// Rules is the host's table: what leaves the cloud is masqueraded; what comes
// for it from anywhere but this machine is dropped; and what comes from it to
// this machine is dropped, but for questions to the name server.
func Rules(c layout.Cloud) string {
	egress := "drop"
	if *c.Config.Network.Egress {
		egress = "accept"
	}
	r := strings.NewReplacer(
		"TABLE", c.Table(), "LINK", c.HostLink(), "CIDR", c.CIDR.String(), "HOSTIP", c.HostIP().String(), "EGRESS", egress,
	)
	return r.Replace(`table inet TABLE
delete table inet TABLE
table inet TABLE {
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "LINK" ct state established,related accept
		oifname "LINK" ct state established,related accept
		iifname "LINK" EGRESS
		oifname "LINK" drop
	}
	chain input {
		type filter hook input priority filter; policy accept;
		iifname "LINK" ct state established,related accept
		iifname "LINK" ip daddr HOSTIP meta l4proto { tcp, udp } th dport 53 accept
		iifname "LINK" icmp type echo-request accept
		iifname "LINK" drop
		iifname != { "LINK", "lo" } ip daddr CIDR drop
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr CIDR oifname != "LINK" masquerade
	}
}
`)
}

func nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("changing the packet filter: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
