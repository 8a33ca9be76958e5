// Bodies of the API as far as this page reads them: schemas/http.py, schemas/rental.py and schemas/feeds.py say what they mean.
// A test holds the names here against those files.

export interface Problem {
  title: string;
  detail: string;
  code: string;
  outcome: "rejected" | "unknown";
}

export interface TimeAnswer {
  market: string;
  rate: number;
}

export interface StatusAnswer {
  accepting_orders: boolean;
  sandbox: boolean;
}

export interface AccountAnswer {
  account: number;
  name: string;
  role: string;
  scopes: string[];
}

export interface BalanceAnswer {
  wallet: string;
  trading: TradingAnswer[];
}

export interface TradingAnswer {
  available: string;
}

export interface ClassAnswer {
  class: string;
  title: string;
  lot: number;
  tick: string;
  list_price: string;
  horizon_hours: number;
}

export interface RequestAnswer {
  state: "pending" | "done" | "refused";
  outcome: Record<string, string | number | boolean>;
}

export interface CapacityAnswer {
  contract: string;
  ground: string;
  qty: number;
  owed: number;
  asked: number;
  version: number;
}

export interface IncomeAnswer {
  starts_at: string;
  class: string;
  gpus: number;
  expected: string;
  paid: string;
  state: string;
}

export interface RangeAnswer {
  legs: LegAnswer[];
}

export interface LegAnswer {
  contract: string;
  order?: OrderAnswer | null;
  refusal?: RefusalAnswer | null;
}

export interface OrderAnswer {
  filled: number;
  leaves: number;
}

export interface RefusalAnswer {
  title: string;
  detail: string;
}

export interface Grid {
  class: string;
  rows: GridRow[];
  as_of: AsOf;
}

export interface AsOf {
  read_at: string;
}

export interface GridRow {
  contract: string;
  hour: string;
  phase: string;
  bid: string;
  bid_qty: number;
  ask: string;
  ask_qty: number;
  last: string;
}

export interface LaunchAnswer {
  name: string;
  ssh_keys: string[];
  image: string;
  start_script: string;
  ports: number[];
}

export interface LeaseAnswer {
  lease: string;
  class_id: string;
  state: "waiting" | "opening" | "open" | "unreachable" | "over";
  gpus: number;
  starts_at: string;
  ends_at: string;
  provider_machine: string;
  rental: string;
  source: string;
  driver: string;
  host: string;
  port: number;
  user: string;
  host_key: string;
  script: string;
  detail: string;
}

export interface MachineAnswer {
  machine: string;
  class_id: string;
  source: string;
  alive: boolean;
  heard_s_ago: number;
  retired: boolean;
  seats: SeatAnswer[];
  maintenance: MaintenanceWindow[];
}

export interface MaintenanceWindow {
  from: string;
  until: string;
}

export interface SeatAnswer {
  usable: boolean;
  lease: string;
}

export interface RentalRequest {
  classes: string[];
  gpus: number;
  max_price: string;
  max_spend: string;
  from: string;
  hours: number;
  look_ahead: number;
  on_stop: "sell" | "keep";
  launch: string;
  webhook: string;
}

/** What is left out stays. */
export interface RentalChange {
  max_price?: string;
  max_spend?: string;
  look_ahead?: number;
  hours?: number;
  on_stop?: "sell" | "keep";
  webhook?: string;
}

export interface RentalHourAnswer {
  contract: string;
  starts_at: string;
  state: "bought" | "missing" | "selling" | "sold" | "over";
  gpus: number;
  minutes: number;
  price: string;
  cost: string;
  returned: string;
  why: string;
}

export interface RentalAnswer {
  rental: string;
  state: "waiting" | "running" | "short" | "stopping" | "over";
  request: RentalRequest;
  hours: RentalHourAnswer[];
  bought_until: string;
  cost: string;
  cost_per_day_most: string;
  notice: string;
  webhook_key: string;
}

export interface RentalOption {
  class: string;
  window: string;
  hours_found: number;
  hours_wanted: number;
  cloud_price: string;
  cloud_provider: string;
  region: string;
  tier: string;
  minutes_to_ssh: number;
}

export interface RentalPreviewAnswer {
  options: RentalOption[];
  first_hour: string;
  window: string;
  per_day_most: string;
  stopping_now: string;
  starts_at: string;
  ends_at: string;
  handovers?: HandoversPreview | null;
  refusal: string;
}

export interface HandoversPreview {
  least: number;
  most: number;
  likely: number;
}
