export * from './protocol/index.js'
export {
  BrokerClient,
  type BrokerAddress,
  type BrokerClientOptions,
  type BrokerExchange,
  type CallOptions,
  type PlanIds,
} from './client/broker-client.js'
export {
  type Answers,
  type BrokerOperation,
  type Failure,
  type FailureReason,
  type MutatingOperation,
  type Outcome,
  type PollOutcome,
} from './client/outcome.js'
export { openBrokerConnections, type BrokerConnections } from './client/transport.js'
export { parameterProblems } from './catalog/parameter-schemas.js'
export { validateCatalog, type CatalogVerdict } from './catalog/validate-catalog.js'
