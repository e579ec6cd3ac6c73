export { type LogSender } from './log-sender.js'
export { createInternalServer, internalPeer, type InternalPeer } from './internal-server.js'
