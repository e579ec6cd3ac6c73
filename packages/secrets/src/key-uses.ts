/**
 * Where the bundled broker, whose tables are its own, tells how many of its secrets stand under which key: a view (kid text, secrets
 * int) in the database that it shares with the platform. Whoever looks for keys that nothing needs reads it, if it is there.
 */
export const BROKER_KEY_USES = { schema: 'bloomery_broker', view: 'secrets_by_key' } as const
