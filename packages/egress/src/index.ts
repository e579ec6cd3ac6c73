export { guardedConnect, guardedConnector, RefusedAddressError, type ConnectTarget } from './guarded-connect.js'
