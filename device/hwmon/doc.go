// Package hwmon reads the meters that kernel drivers show in sysfs: temperatures,
// power, energy. The rooms of vendors below device import it.
//
// Names and units are those of the kernel's hwmon interface
// (Documentation/hwmon/sysfs-interface.rst). What a file does not say is nil; it
// reads no file but those below the directory it is given.
package hwmon
