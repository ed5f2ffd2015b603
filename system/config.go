package system

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"sigs.k8s.io/yaml"

	"polder.dev/polder/internal/pki"
	"polder.dev/polder/system/layout"
)

// savedConfig is the configuration that the cloud was last started with, below
// the data directory. It is what components read, and what `polder up` takes
// when no other is named.
const savedConfig = "config.yaml"

// Open returns the cloud in the data directory dir: with the configuration in
// file if one is named, else with what it was started with last, else with the
// defaults.
func Open(dir, file string) (layout.Cloud, error) {
	bare, err := layout.New(dir, layout.Config{})
	if err != nil {
		return layout.Cloud{}, err
	}
	saved := bare.Path(savedConfig)
	_, err = os.Stat(saved)
	known := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return layout.Cloud{}, fmt.Errorf("reading configuration of the cloud: %w", err)
	}
	if file == "" && known {
		file = saved
	}
	cfg, err := layout.ReadConfig(file)
	if err != nil {
		return layout.Cloud{}, err
	}
	c, err := layout.New(dir, cfg)
	if err != nil || !known || file == saved {
		return c, err
	}
	before, err := layout.ReadConfig(saved)
	if err != nil {
		return c, err
	}
	old, err := layout.New(dir, before)
	if err != nil {
		return c, err
	}
	return c, sameIdentity(file, old, c)
}

// sameIdentity refuses what cannot change once a cloud was up.
func sameIdentity(file string, old, c layout.Cloud) error {
	if old.CIDR != c.CIDR {
		return fmt.Errorf("configuration %s: network.cidr %s differs from %s, which this cloud was made with and cannot change; set it back, or start over with `polder reset`", file, c.CIDR, old.CIDR)
	}
	if old.Config.Node.Name != c.Config.Node.Name {
		return fmt.Errorf("configuration %s: node.name %s differs from %s, which this cloud was made with and cannot change; set it back, or start over with `polder reset`", file, c.Config.Node.Name, old.Config.Node.Name)
	}
	if old.Config.Registry.Storage == layout.RegistryObjects && c.Config.Registry.Storage != layout.RegistryObjects {
		return fmt.Errorf("configuration %s: registry.storage is %s, and what was pushed are objects, which do not become files again; write objects, or start over with `polder reset`", file, c.Config.Registry.Storage)
	}
	return nil
}

// encode is c's configuration as it is saved: complete, so that it says the same
// whatever the defaults become.
func encode(c layout.Cloud) ([]byte, error) {
	cfg := c.Config
	cfg.APIVersion, cfg.Kind = "polder.dev/v1alpha1", "CloudConfig"
	cfg.Network.CIDR = c.CIDR.String()
	b, err := yaml.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	return b, nil
}

func saveConfig(c layout.Cloud) error {
	b, err := encode(c)
	if err != nil {
		return err
	}
	return pki.WriteFile(c.Path(savedConfig), b)
}

// changed reports whether c's configuration is another than the saved one.
func changed(c layout.Cloud) (bool, error) {
	saved, err := Open(c.Dir, "")
	if err != nil {
		return false, err
	}
	have, err := encode(saved)
	if err != nil {
		return false, err
	}
	want, err := encode(c)
	return !bytes.Equal(have, want), err
}
