-- Router groups and their ports, shared routes, certificates of public authorities; schema.prisma tells what each table is for.

CREATE TABLE "router_groups" (
  "guid" text NOT NULL,
  "name" text NOT NULL,
  "type" text NOT NULL,
  "reservable_ports" text NOT NULL DEFAULT '',
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "router_groups_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "router_groups_name_key" ON "router_groups" ("name");

CREATE TABLE "route_sharings" (
  "route_guid" text NOT NULL,
  "space_guid" text NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "route_sharings_pkey" PRIMARY KEY ("route_guid", "space_guid"),
  CONSTRAINT "route_sharings_route_guid_fkey" FOREIGN KEY ("route_guid") REFERENCES "routes" ("guid") ON DELETE CASCADE ON UPDATE CASCADE,
  CONSTRAINT "route_sharings_space_guid_fkey" FOREIGN KEY ("space_guid") REFERENCES "spaces" ("guid") ON DELETE CASCADE ON UPDATE CASCADE
);
CREATE INDEX "route_sharings_space_guid_idx" ON "route_sharings" ("space_guid");

-- Which ports of a group are reserved is asked for at every TCP route; HTTP routes have the port 0.
CREATE INDEX "routes_port_idx" ON "routes" ("port");

CREATE TABLE "acme_accounts" (
  "directory_url" text NOT NULL,
  "contact" text,
  "account_url" text,
  "private_key_encrypted" jsonb NOT NULL,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "acme_accounts_pkey" PRIMARY KEY ("directory_url")
);

CREATE TABLE "acme_orders" (
  "guid" text NOT NULL,
  "directory_url" text NOT NULL,
  "names" text[] NOT NULL,
  "state" text NOT NULL,
  "detail" text,
  "attempts" integer NOT NULL DEFAULT 0,
  "next_attempt_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "certificate_guid" text,
  "lease_token" bigint NOT NULL DEFAULT 0,
  "created_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  "updated_at" timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "acme_orders_pkey" PRIMARY KEY ("guid")
);
CREATE UNIQUE INDEX "acme_orders_directory_url_names_key" ON "acme_orders" ("directory_url", "names");

CREATE TABLE "acme_challenges" (
  "token" text NOT NULL,
  "name" text NOT NULL,
  "type" text NOT NULL,
  "key_authorization" text NOT NULL,
  "certificate_pem" text,
  "private_key_encrypted" jsonb,
  "expires_at" timestamptz(3) NOT NULL,
  CONSTRAINT "acme_challenges_pkey" PRIMARY KEY ("token")
);
