package main

import (
	"os"
	"path/filepath"
)

// rootsFiles are where distributions keep the authorities that a machine trusts, as Go's own
// crypto/x509 looks for them.
var rootsFiles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// systemRoots returns the file of these authorities, which SSL_CERT_FILE may name as for other
// programs; nothing if there is none.
func systemRoots() string {
	for _, path := range append([]string{os.Getenv("SSL_CERT_FILE")}, rootsFiles...) {
		if file, err := os.Stat(path); err == nil && file.Mode().IsRegular() {
			if absolute, err := filepath.Abs(path); err == nil {
				return absolute
			}
		}
	}
	return ""
}
