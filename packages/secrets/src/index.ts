export { BROKER_KEY_USES } from './key-uses.js'
export { Keyring, KeyringError, loadKeyring } from './keyring.js'
