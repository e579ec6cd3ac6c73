export { Keyring, KeyringError, loadKeyring } from './keyring.js'
