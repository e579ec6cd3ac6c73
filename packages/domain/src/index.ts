export { normalizePath, RouteIndex, type IndexedRoute } from './routing/route-index.js'
export { diffRoutes, type RouteDiff } from './routing/route-diff.js'
export {
  BALANCING,
  balancingOf,
  chooseEndpoint,
  chooseStickyEndpoint,
  type Balancing,
  type EndpointChoice,
} from './routing/choose-endpoint.js'
export { isPinned, parseInstancePin, type InstancePin } from './routing/instance-pin.js'
