// Package catalogue says of accelerator products what they do not report of
// themselves: what a PCI number is called, how much memory a chip has whose driver
// does not tell, how fast it is by precision. Every value has a source and a
// confidence: H read in the vendor's documents or source, M in one document of
// somebody else, L recalled or in conflict. A value nobody vouches for is left out.
//
// The data is products.yaml beside this file, in the format at its head; the rooms
// below device read it, and the compiler of requirements, which must know what a
// product is whose own driver says only its name.
package catalogue
