export { type LogSender } from './log-sender.js'
