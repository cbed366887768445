-- What the company's warehouse hands over: one table for each source. A source of Rapport reads a table; joining tables is
-- the warehouse's work. DuckDB runs it over views that are called as the provider's files. All is in order, so that the same
-- files give the same extracts to the last byte, which are then known to be taken in already.

-- Till lines, with the department of each product: the till itself knows only the product's number. Petrol is counted in
-- thousandths of a gallon, all else in pieces.
CREATE VIEW till AS
SELECT household_id, transaction_timestamp, product_id, department, sales_value,
       CASE WHEN product_type IS DISTINCT FROM 'GASOLINE-REG UNLEADED' THEN quantity END AS quantity,
       coalesce(product_category, 'UNKNOWN') AS product_category
FROM transactions_sample LEFT JOIN products USING (product_id) ORDER BY ALL;

-- Trips to a store, one row a receipt.
CREATE VIEW trips AS
SELECT DISTINCT basket_id, household_id, transaction_timestamp FROM transactions_sample ORDER BY basket_id;

-- What a campaign offers: coupons for products, and the department to which most of these belong. A campaign is dated a
-- week before it starts, as it must be planned before it can be sent; the files say nothing of that.
CREATE VIEW planned AS
WITH counted AS (
    SELECT campaign_id, department, count(DISTINCT product_id) AS products
    FROM coupons JOIN products USING (product_id) GROUP BY ALL
),
main AS (
    SELECT campaign_id, arg_max(department, (products, department)) AS department FROM counted GROUP BY campaign_id
),
offered AS (
    SELECT campaign_id, count(DISTINCT coupon_upc) AS coupons, count(DISTINCT product_id) AS products
    FROM coupons GROUP BY campaign_id
)
SELECT 'campaign-' || campaign_id AS campaign, campaign_type AS type, 'mail' AS channels, coupons, products, department,
       end_date - start_date + 1 AS days, start_date - 7 AS planned_on,
       CAST(start_date AS TIMESTAMP) AT TIME ZONE 'America/New_York' AS starts,
       CAST(end_date + 1 AS TIMESTAMP) AT TIME ZONE 'America/New_York' AS ends
FROM campaign_descriptions JOIN main USING (campaign_id) JOIN offered USING (campaign_id) ORDER BY starts, campaign;

-- Who was sent which campaign: when it started stands in another file.
CREATE VIEW mailings AS
SELECT household_id, campaign, starts, department
FROM campaigns JOIN planned ON campaign = 'campaign-' || campaign_id ORDER BY ALL;

CREATE VIEW redemptions AS
SELECT household_id, 'campaign-' || campaign_id AS campaign, coupon_upc, redemption_date FROM coupon_redemptions;

-- The households that were ever sent a campaign: of the others the model knows nothing.
CREATE VIEW mailed AS SELECT DISTINCT household_id AS customer_id FROM campaigns ORDER BY customer_id;
