package agents

import "crypto/tls"

// AskingTLS is for a server whose callers Authenticate judges: it takes any certificate, and
// none. A handshake that fails tells neither side why, and an agent whose certificate has
// expired could not come back by its token.
func AskingTLS(serving *tls.Config) *tls.Config {
	asking := serving.Clone()
	asking.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := serving.GetConfigForClient(hello)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ClientAuth, config.VerifyConnection = tls.RequestClientCert, nil
		return config, nil
	}
	return asking
}
