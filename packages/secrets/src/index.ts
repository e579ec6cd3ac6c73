export { Keyring, KeyringError, loadKeyring, rotateKeyring } from './keyring.js'
