-- Which parcel a picture names, so that shipment statuses of two parcels are not compared with each other. Orders that
-- were kept before name none until their next change.

ALTER TABLE operation ADD COLUMN carrier TEXT;
ALTER TABLE operation ADD COLUMN tracking_number TEXT;
