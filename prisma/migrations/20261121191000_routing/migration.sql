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

-- What routers are told may have changed. Whoever changes something need not know of it: triggers write it down.
CREATE TABLE "route_changes" (
  "id" BIGSERIAL NOT NULL,
  "route_guid" text,
  "app_guid" text,
  CONSTRAINT "route_changes_pkey" PRIMARY KEY ("id")
);

CREATE FUNCTION note_changed_route() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO route_changes (route_guid) VALUES (coalesce(NEW.guid, OLD.guid));
  RETURN NULL;
END $$;
CREATE FUNCTION note_route_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO route_changes (route_guid) VALUES (coalesce(NEW.route_guid, OLD.route_guid));
  RETURN NULL;
END $$;
CREATE FUNCTION note_app_of_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO route_changes (app_guid) VALUES (coalesce(NEW.app_guid, OLD.app_guid));
  RETURN NULL;
END $$;
CREATE FUNCTION note_changed_app() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO route_changes (app_guid) VALUES (NEW.guid);
  RETURN NULL;
END $$;
CREATE FUNCTION note_routes_of_domain() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO route_changes (route_guid) SELECT guid FROM routes WHERE domain_guid = NEW.guid;
  RETURN NULL;
END $$;
CREATE FUNCTION note_routes_of_service_instance() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO route_changes (route_guid) SELECT route_guid FROM route_bindings WHERE service_instance_guid = NEW.guid;
  RETURN NULL;
END $$;

CREATE TRIGGER note_route_changes AFTER INSERT OR UPDATE OR DELETE ON "routes" FOR EACH ROW EXECUTE FUNCTION note_changed_route();
CREATE TRIGGER note_route_changes AFTER INSERT OR UPDATE OR DELETE ON "route_destinations" FOR EACH ROW EXECUTE FUNCTION note_route_of_row();
CREATE TRIGGER note_route_changes AFTER INSERT OR UPDATE OR DELETE ON "route_bindings" FOR EACH ROW EXECUTE FUNCTION note_route_of_row();
CREATE TRIGGER note_route_changes AFTER UPDATE ON "domains" FOR EACH ROW
  WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.internal IS DISTINCT FROM NEW.internal) EXECUTE FUNCTION note_routes_of_domain();
CREATE TRIGGER note_route_changes AFTER UPDATE ON "apps" FOR EACH ROW
  WHEN (OLD.name IS DISTINCT FROM NEW.name OR OLD.state IS DISTINCT FROM NEW.state OR OLD.space_guid IS DISTINCT FROM NEW.space_guid)
  EXECUTE FUNCTION note_changed_app();
CREATE TRIGGER note_route_changes AFTER UPDATE ON "processes" FOR EACH ROW
  WHEN ((OLD.instances = 0) IS DISTINCT FROM (NEW.instances = 0) OR OLD.type IS DISTINCT FROM NEW.type) EXECUTE FUNCTION note_app_of_row();
CREATE TRIGGER note_route_changes AFTER UPDATE ON "service_instances" FOR EACH ROW
  WHEN (OLD.route_service_url IS DISTINCT FROM NEW.route_service_url) EXECUTE FUNCTION note_routes_of_service_instance();
CREATE TRIGGER note_route_changes_of_new AFTER INSERT ON "actual_instances" FOR EACH ROW
  WHEN (NEW.routable) EXECUTE FUNCTION note_app_of_row();
CREATE TRIGGER note_route_changes_of_old AFTER DELETE ON "actual_instances" FOR EACH ROW
  WHEN (OLD.routable) EXECUTE FUNCTION note_app_of_row();
CREATE TRIGGER note_route_changes AFTER UPDATE ON "actual_instances" FOR EACH ROW
  WHEN ((OLD.routable OR NEW.routable) AND (OLD.routable, OLD.state, OLD.endpoint, OLD.instance_guid, OLD.cell_id, OLD.process_type)
    IS DISTINCT FROM (NEW.routable, NEW.state, NEW.endpoint, NEW.instance_guid, NEW.cell_id, NEW.process_type))
  EXECUTE FUNCTION note_app_of_row();
