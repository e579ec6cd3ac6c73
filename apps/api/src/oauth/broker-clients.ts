/** Clients of dashboards carry their broker's guid in a grant type of their own, which no request can ask for. */
export const BROKER_MARK = 'service-broker:'
